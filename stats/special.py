"""The functions of `scipy.special`, which is imported with the first of them that is asked for.

To import it takes a quarter of a server's start, and only results need it: `special.ndtr` here is scipy's.
"""

from importlib import import_module
from types import ModuleType
from typing import Any


def load() -> ModuleType:
    """Import scipy now; safe from any thread."""
    return import_module("scipy.special")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - scipy has no types
    if name.startswith("__"):
        raise AttributeError(name)
    function = getattr(load(), name)
    globals()[name] = function
    return function
