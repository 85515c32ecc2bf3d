"""Cuts a track body into its events without decoding them, so that a bad one costs no neighbour.

Only bodies that the decoder refuses as a whole come here: lone surrogates and nesting beyond its
depth are faults of one event, though they stop a decoder for all.
"""

import re
from typing import NamedTuple

# Each token is consumed once, whatever follows: the scan is linear for any input.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)


class Pieces(NamedTuple):
    """A body's envelope with an empty list of events, and its events as they came."""

    envelope: bytes
    events: list[bytes]


def split_events(body: bytes) -> Pieces | None:
    """The envelope and the elements of its `events` list; None when there is no such list."""
    depth = 0
    key = b""
    last_string = b""
    list_start = element_start = -1
    spans: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(body):
        text = token.group()
        if text[:1] == b'"':
            last_string = text
        elif text == b":":
            if depth == 1:
                key = last_string
        elif text in b"{[":
            depth += 1
            if depth == 2 and text == b"[" and key == b'"events"' and list_start < 0:  # noqa: PLR2004
                list_start = element_start = token.end()
        elif text == b",":
            if depth == 2 and element_start >= 0:  # noqa: PLR2004
                spans.append((element_start, token.start()))
                element_start = token.end()
        else:
            depth -= 1
            if depth == 1 and element_start >= 0:
                spans.append((element_start, token.start()))
                envelope = body[:list_start] + body[token.start() :]
                return Pieces(envelope, _elements(body, spans))
    return None


def _elements(body: bytes, spans: list[tuple[int, int]]) -> list[bytes]:
    elements = [body[start:end].strip() for start, end in spans]
    return [] if elements == [b""] else elements
