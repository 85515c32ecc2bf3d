"""Compressed answers: which coding a client takes; bodies compressed once as tightly as can be, or quickly."""

import functools
import gzip
from typing import Literal

import brotli

Coding = Literal["br", "gzip"]

# Bodies are scripts of some kilobytes, one for each project and state of its experiments.
_BODIES_KEPT = 512
_CODINGS: tuple[Coding, ...] = ("br", "gzip")


def chosen_coding(accepted: str) -> Coding | None:
    """The tightest coding that an Accept-Encoding header allows; None leaves the body as it is."""
    weights = dict(_weighted(part) for part in accepted.lower().split(","))
    return next((coding for coding in _CODINGS if weights.get(coding, weights.get("*", 0.0)) > 0.0), None)


@functools.lru_cache(maxsize=_BODIES_KEPT)
def compressed(body: bytes, coding: Coding) -> bytes:
    """The body in a coding, at the highest level; the same body always gives the same bytes."""
    if coding == "br":
        return bytes(brotli.compress(body, mode=brotli.MODE_TEXT, quality=11))
    return gzip.compress(body, compresslevel=9, mtime=0)


def quickly_compressed(body: bytes, coding: Coding) -> bytes:
    """The body in a coding, in about a millisecond for 100 KB: for what is made for one answer."""
    if coding == "br":
        return bytes(brotli.compress(body, mode=brotli.MODE_TEXT, quality=4))
    return gzip.compress(body, compresslevel=5, mtime=0)


def _weighted(part: str) -> tuple[str, float]:
    name, _, parameter = part.partition(";")
    try:
        weight = float(parameter.partition("=")[2]) if parameter.strip() else 1.0
    except ValueError:
        weight = 0.0
    return name.strip(), weight
