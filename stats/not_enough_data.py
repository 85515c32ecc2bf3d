"""The answer of a statistic that cannot be computed."""

import msgspec


class NotEnoughData(msgspec.Struct, frozen=True):
    """What stands in place of a number that does not exist, with the reason as a plain sentence."""

    reason: str
