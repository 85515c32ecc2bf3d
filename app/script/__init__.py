"""The browser script with a project's running experiments inlined, and the demo page that loads it.

`source` is bundled by `make script` into `built`: `core.js` for projects without running experiments, `full.js`
for the others, `preview.js`, which both load where the dashboard looks at a page, and `snippet.js` for pages that
load the script with async.
"""

import functools
import hashlib
import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.script.sanitizing import sanitize_html

__all__ = [
    "experiments_version",
    "render_async_snippet",
    "render_demo",
    "render_preview",
    "render_script",
    "render_snippet",
    "sanitize_html",
]

_PLACEHOLDER = "__GMP_CONFIG__"

# JSON that is safe inside JavaScript and inside a <script> element: < ends elements and opens comments.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"})


def render_script(
    *, project_id: str, base_url: str, experiments: Sequence[Mapping[str, Any]], count_bots: bool = False
) -> bytes:
    """Build the JavaScript for one project: the same input gives the same bytes, ASCII only.

    `experiments` is the array of the documented active-experiments response; fields that the browser does
    not need are left out, and the values of HTML changes are sanitised here once more. `base_url` is the
    origin that events are posted to, with a path prefix if there is one. `count_bots` also
    counts automated browsers (tests, demonstrations).
    """
    config = {
        "projectId": project_id,
        "baseUrl": base_url.rstrip("/"),
        **({"countBots": True} if count_bots else {}),
        **({"version": experiments_version(experiments)} if experiments else {}),
        "experiments": [_experiment(experiment) for experiment in experiments],
    }
    # A page without experiments need not carry what changes pages.
    return _filled("full" if experiments else "core", config).encode("ascii")


def experiments_version(experiments: Sequence[Mapping[str, Any]]) -> str:
    """Name what runs: pages compare it with what answers to their events say, and ask when it differs."""
    return hashlib.sha256(json.dumps(experiments, sort_keys=True).encode()).hexdigest()[:8]


def render_preview(base_url: str) -> bytes:
    """Build what shows a page the changes of a form; it talks to the dashboard of `base_url` alone."""
    return _filled("preview", {"baseUrl": base_url}).encode("ascii")


def render_snippet(project_id: str, base_url: str) -> str:
    """What a page puts first into its head: the script before the first paint, so that nothing flickers."""
    return f'<script src="{html.escape(_script_url(project_id, base_url))}"></script>'


def render_async_snippet(project_id: str, base_url: str, experiments: Sequence[Mapping[str, Any]]) -> str:
    """The same without holding up the page: what experiments change there is hidden for 500 ms at most.

    Until a visitor's browser has seen the script once, it goes by the `experiments` that ran when it was copied.
    """
    targets = [
        {
            **{field: experiment[field] for field in ("urlMatchType", "targetUrl")},
            "variants": [
                {"changes": [{"selector": change["selector"]} for change in variant["changes"]]}
                for variant in experiment["variants"]
                if variant["changes"]
            ],
        }
        for experiment in experiments
    ]
    return f"<script>{_filled('snippet', [_script_url(project_id, base_url), targets])}</script>"


def render_demo(project_id: str, script_url: str) -> bytes:
    """Build the demo shop: one HTML page without other files that loads the script from `script_url`."""
    page = _read("demo.html")
    page = page.replace("{{PROJECT_ID}}", html.escape(project_id))
    return page.replace("{{SCRIPT_URL}}", html.escape(script_url)).encode()


def _experiment(experiment: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("id", "urlMatchType", "targetUrl", "trafficPercentage")
    variants = [
        {
            **{field: variant[field] for field in ("id", "name", "weight")},
            "changes": [_change(change) for change in variant["changes"]],
        }
        for variant in experiment["variants"]
    ]
    return {**{field: experiment[field] for field in fields}, "variants": variants}


def _change(change: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("selector", "changeType", "property", "value")
    kept = {field: change[field] for field in fields if change.get(field) is not None}
    if change["changeType"] == "html":
        kept["value"] = sanitize_html(change["value"])
    return kept


def _script_url(project_id: str, base_url: str) -> str:
    return f"{base_url.rstrip('/')}/api/analytics/script.js?projectId={project_id}"


def _filled(name: str, value: object) -> str:
    before, after = _template(name)
    return before + json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES) + after


@functools.cache
def _template(name: str) -> tuple[str, str]:
    """Split a bundle where the configuration goes."""
    before, _, after = _read(f"built/{name}.js").strip().partition(_PLACEHOLDER)
    return before, after


@functools.cache
def _read(name: str) -> str:
    return importlib.resources.files(__name__).joinpath(name).read_text("utf-8")
