"""A response as a snapshot can hold it: what differs from run to run becomes a stable name."""

import re
from collections.abc import Callable
from typing import Any

import httpx

# Headers that callers rely on; the others are the framework's business.
_HEADERS = (
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-max-age",
    "cache-control",
    "content-type",
    "cross-origin-resource-policy",
    "etag",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-content-type-options",
)
_UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
_PATTERNS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"), "<time>"),
    (re.compile(r"prooflog_sk_[0-9a-f]{32}_[A-Za-z0-9_-]{43}"), "<secret key>"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "<digest>"),
)
# The statistics have tests of their own: here counts are pinned, and of measures only that they are there.
_MEASURES = {"pValue", "eValue", "estimate", "low", "high", "chanceToBeat", "expectedLoss", "seconds"}
_WORDS = {"reason", "method"}


def wire(response: httpx.Response, *, measures: bool = False) -> dict[str, Any]:
    """Status, headers and JSON body; with `measures`, statistics are reduced to whether they are there."""
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    if "etag" in headers:
        headers["etag"] = "<etag>"
    is_json = "json" in headers.get("content-type", "")
    body = response.json() if is_json else f"<{len(response.content) and 'some'} bytes>"
    return {"status": response.status_code, "headers": headers, "body": _named(body, measures=measures)}


def _named(body: Any, *, measures: bool) -> Any:
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found.group(), f"<id {len(names) + 1}>")

    def text(value: str) -> str:
        for pattern, placeholder in _PATTERNS:
            value = pattern.sub(placeholder, value)
        return _UUID.sub(name, value)

    return _walk(body, text, measures=measures)


def _walk(value: Any, text: Callable[[str], str], *, measures: bool, key: str = "") -> Any:
    if isinstance(value, dict):
        measures = measures and "explanation" not in value
        return {text(inner): _walk(entry, text, measures=measures, key=inner) for inner, entry in value.items()}
    if isinstance(value, list):
        return [_walk(entry, text, measures=measures) for entry in value]
    if measures and key in _MEASURES and isinstance(value, float | int):
        return "<number>"
    if measures and key in _WORDS and isinstance(value, str):
        return "<words>"
    return text(value) if isinstance(value, str) else value
