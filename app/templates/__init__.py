"""The pages of the dashboard: Jinja2 templates, everything escaped; stylesheet, script, words for numbers."""

import functools
import hashlib
import importlib.resources
from datetime import UTC, datetime
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.templates import fields, numbers
from app.templates.charts import said
from app.templates.forest import forest_plot
from app.templates.health import health_of
from app.templates.verdicts import LOOKS, MEASURES, deciding_lift, verdict_of

__all__ = ["ASSETS", "Asset", "asset", "render", "verdict_of"]

# What every page loads, by the name it has below /dashboard: where its file is, and its type.
ASSETS = {
    "style.css": ("app.templates", "style.css", "text/css"),
    "dashboard.js": ("app.script", "built/dashboard.js", "text/javascript"),
}


class Asset(NamedTuple):
    """A file that every page loads, and the tag that changes with it."""

    body: bytes
    tag: str
    media_type: str


def render(name: str, /, **context: object) -> bytes:
    """One page as UTF-8; a name that its template uses and nobody gave is an error, never a blank."""
    return _environment().get_template(name).render(**context).encode()


def load() -> None:
    """Compile every template now, which the first page of each would wait for; safe from any thread."""
    environment = _environment()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


@functools.cache
def asset(name: str) -> Asset:
    """One of ASSETS, read once."""
    package, path, media_type = ASSETS[name]
    body = importlib.resources.files(package).joinpath(path).read_bytes()
    return Asset(body, hashlib.sha256(body).hexdigest()[:16], media_type)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app", "templates"),
        # For every file, whatever it is called: names of experiments may be hostile.
        autoescape=True,
        # They come with the program: to look whether each has changed was a twentieth of a page.
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**numbers.FILTERS, **fields.FILTERS}
    environment.globals |= {
        "address_of": lambda name: f"/dashboard/{name}?v={asset(name).tag}",
        "deciding_lift": deciding_lift,
        "forest_plot": forest_plot,
        "health_of": health_of,
        "LOOKS": LOOKS,
        "MEASURES": MEASURES,
        "said": said,
        "now": lambda: datetime.now(UTC),
        "verdict_of": verdict_of,
    }
    return environment
