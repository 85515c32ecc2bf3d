"""A vector's inputs: numbers as floats or exact fractions, levels with their usual default."""

import ast
import re
from collections.abc import Callable
from fractions import Fraction
from math import inf
from typing import Any

import numpy as np

from stats.saddle_point import Floats

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
}


class Inputs(dict[str, Any]):
    """The inputs by name."""

    def number(self, key: str) -> float:
        """Give one number; words as inf are numbers too."""
        return float(self[key])

    def array(self, key: str) -> Floats:
        """Give a list of numbers, or one, as an array."""
        return np.asarray(self[key], dtype=np.float64)

    @property
    def alpha(self) -> float:
        """Give the level, .05 unless said."""
        return float(self.get("alpha", 0.05))

    @property
    def power(self) -> float:
        """Give the chance to find the effect, .8 unless said."""
        return float(self.get("power", 0.8))

    @property
    def method(self) -> str:
        """Give the method's name in small letters, empty unless said."""
        return str(self.get("method", "")).lower()

    def arms(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give (control, treatment)."""
        return self["control"], self["treatment"]


def exact(arm: dict[str, Any], key: str) -> Fraction:
    """Give a number as it was written, not as the nearest float."""
    return Fraction(repr(arm[key])) if isinstance(arm[key], float) else Fraction(arm[key])


def infinite(value: object) -> float:
    """Give a number that may be written as a word."""
    return inf if value in {"inf", "infinity"} else float(str(value))


def rows_of_recipe(recipe: str) -> dict[str, tuple[Floats, Floats]]:
    """Give (x, y) of each arm from a recipe as "control i=0..199: x=(37i)%101, y=2+x; treatment i=..."."""
    arms = {}
    for part in recipe.split(";"):
        head, formulas = part.split(":")
        matched = re.fullmatch(r"\s*(\w+)\s+i=(\d+)\.\.(\d+)\s*", head)
        if matched is None:
            raise ValueError(f"no recipe: {part}")
        name, first, last = matched.groups()
        x_formula, y_formula = (formula.split("=", 1)[1] for formula in formulas.split(", "))
        rows = []
        for i in range(int(first), int(last) + 1):
            x = _value(x_formula, {"i": float(i)})
            rows.append((x, _value(y_formula, {"i": float(i), "x": x})))
        columns = np.array(rows, dtype=np.float64).T
        arms[name] = (columns[0], columns[1])
    return arms


def _value(formula: str, names: dict[str, float]) -> float:
    """Compute sums, products and remainders; 37i stands for 37 * i. Nothing else is read."""

    def of(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as value):
                return float(value)
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=operator, right=right):
                return _OPERATORS[type(operator)](of(left), of(right))
        raise ValueError(f"no formula: {formula}")

    return of(ast.parse(re.sub(r"(\d)([a-z])", r"\1*\2", formula.strip()), mode="eval").body)
