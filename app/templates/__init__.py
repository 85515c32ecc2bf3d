"""The dashboard's pages: Jinja2 templates with everything escaped, one stylesheet, the words for numbers."""

import functools
import hashlib
import importlib.resources
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.templates import numbers
from app.templates.intervals import interval_bars
from app.templates.verdicts import verdict_of

__all__ = ["Stylesheet", "render", "stylesheet", "verdict_of"]


class Stylesheet(NamedTuple):
    """The one stylesheet and the tag that changes with it."""

    body: bytes
    tag: str


def render(name: str, **context: object) -> bytes:
    """One page as UTF-8; a name that its template uses and nobody gave is an error, never a blank."""
    return _environment().get_template(name).render(**context).encode()


@functools.cache
def stylesheet() -> Stylesheet:
    """The stylesheet, read once."""
    body = importlib.resources.files(__name__).joinpath("style.css").read_bytes()
    return Stylesheet(body, hashlib.sha256(body).hexdigest()[:16])


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app", "templates"),
        # For every file, whatever it is called: names of experiments may be hostile.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= numbers.FILTERS
    environment.globals |= {
        "style_tag": stylesheet().tag,
        "interval_bars": interval_bars,
        "verdict_of": verdict_of,
    }
    return environment
