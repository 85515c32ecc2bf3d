"""Numbers as people read them; a number that does not exist stays None, and the page says why."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.results_shape import GoalVariant

_MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NARROW NO-BREAK SPACE}"
# From here on digits say less than the power of ten.
_PLAIN_MAX = 1e12
_PLAIN_MIN = 0.01
_P_MIN = 0.001
_CHANCE_MIN = 0.001
_E_VALUE_MAX = 1e6
_TIMES = "\N{MULTIPLICATION SIGN}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DIMENSIONS = {
    "device": "device",
    "browser": "browser",
    "os": "system",
    "country": "country",
    "referrer": "referrer",
    "utm_source": "UTM source",
    "utm_medium": "UTM medium",
    "utm_campaign": "UTM campaign",
}


def count(number: int) -> str:
    """A whole number with commas between thousands."""
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """How many there are of what, one or several."""
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def lag_words(events: int) -> str:
    """How many of the newest events are not counted yet."""
    if events <= 0:
        return "Everything that has arrived is counted."
    return f"{count(events)} of the newest events {'is' if events == 1 else 'are'} not counted yet."


def percent(fraction: float | None, *, decimals: int = 2) -> str | None:
    """A fraction as percent."""
    return None if fraction is None else f"{_fixed(fraction * 100, decimals)}{SPACE}%"


def lift(fraction: float | None) -> str | None:
    """A relative change as percent with its sign."""
    return None if fraction is None else f"{_signed(fraction * 100, 1)}{SPACE}%"


def amount(number: float | None, *, decimals: int = 2) -> str | None:
    """A value, sum or mean, in whatever unit its goal has."""
    return None if number is None else _fixed(number, decimals)


def difference(number: float | None, kind: str) -> str | None:
    """A difference of a goal with its sign: of rates in percentage points, of means in their own unit."""
    if number is None:
        return None
    return f"{limit(number, kind)}{SPACE}pp" if kind == "conversion" else limit(number, kind)


def limit(number: float | None, kind: str) -> str | None:
    """A difference of a goal without its unit, to stand beside one that has it."""
    return None if number is None else _signed(number * 100 if kind == "conversion" else number, 2)


def p_value(number: float | None) -> str | None:
    """A p-value; a very small one only as such."""
    if number is None:
        return None
    return f"<{SPACE}{_P_MIN}" if number < _P_MIN else f"{number:.3f}"


def chance(fraction: float | None) -> str | None:
    """A probability as percent that never claims certainty."""
    if fraction is None:
        return None
    if fraction < _CHANCE_MIN:
        return f"<{SPACE}0.1{SPACE}%"
    if fraction > 1 - _CHANCE_MIN:
        return f">{SPACE}99.9{SPACE}%"
    return f"{fraction * 100:.1f}{SPACE}%"


def plain(number: float) -> str:
    """A number as it was set, such as a weight: no decimals that say nothing."""
    text = _fixed(number, 4)
    return text if 0 < abs(number) < _PLAIN_MIN else text.rstrip("0").removesuffix(".")


def e_value(number: float | None) -> str:
    """An e-value, in which only the size counts."""
    if number is None:
        return "–"
    if number < _PLAIN_MIN:
        return f"<{SPACE}{_PLAIN_MIN}"
    if number >= _E_VALUE_MAX:
        return f">{SPACE}{_E_VALUE_MAX:,.0f}"
    return _fixed(number, 0 if number >= 100 else 2)  # noqa: PLR2004


def moment(time: datetime) -> str:
    """A moment to the second, in UTC and saying so."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(time: datetime) -> str:
    """A day in UTC, as short as can be told apart."""
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def dimension(name: str) -> str:
    """What a dimension of a breakdown is called."""
    return _DIMENSIONS[name]


def per_visitor(variant: GoalVariant) -> float | None:
    """The conversions of an average visitor; None where the rate does not exist either."""
    return None if variant.rate is None else variant.conversions / variant.visitors


def why_no_rate(variant: GoalVariant) -> str:
    """The reason that a variant has no rate and no mean."""
    if variant.surplus_converters:
        return "More ids converted than visitors were exposed, so a rate would mean nothing."
    return "Nobody was exposed to this variant."


def _signed(number: float, decimals: int) -> str:
    text = _fixed(number, decimals)
    return f"+{text}" if number > 0 else text


def _fixed(number: float, decimals: int) -> str:
    size = abs(number)
    if size >= _PLAIN_MAX:
        text = _with_power(f"{size:.3e}")
    elif 0 < size < _PLAIN_MIN:
        text = _with_power(f"{size:.2g}")
    else:
        text = f"{size:,.{decimals}f}"
    return f"{_MINUS}{text}" if number < 0 else text


def _with_power(text: str) -> str:
    figures, _, power = text.partition("e")
    return f"{figures}{SPACE}{_TIMES}{SPACE}10{str(int(power)).translate(_RAISED)}" if power else text


FILTERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        count,
        counted,
        lag_words,
        percent,
        lift,
        amount,
        difference,
        limit,
        p_value,
        chance,
        plain,
        e_value,
        moment,
        dimension,
        day,
        per_visitor,
        why_no_rate,
    )
}
