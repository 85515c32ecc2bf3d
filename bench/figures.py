"""One line of the bench's table."""

import msgspec


class Figure(msgspec.Struct):
    """A value with its unit, and the bar it should reach."""

    name: str
    value: float
    unit: str
    bar: str = ""

    def line(self) -> str:
        """The figure as a row."""
        return f"{self.name:62} {self.value:>14,.3f} {self.unit:10} {self.bar}"
