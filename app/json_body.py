"""Bodies as JSON: bounded, inflated, and why one is none, in words that a caller can use."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from app.log_writer import Overloaded
from app.problems import Problem

BODY_BYTES_MAX = 1024 * 1024
INFLATED_BYTES_MAX = 32 * 1024 * 1024


class Inflated:
    """Bounds the memory of bodies that came compressed: a thousandth of it is what their clients had to send."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def inflate(self, body: bytes, content_encoding: str | None) -> Iterator[bytes]:
        """The body as by `inflate`, counted for as long as it is worked on; Overloaded when there are too many."""
        if self._bytes + BODY_BYTES_MAX > INFLATED_BYTES_MAX:
            raise Overloaded
        inflated = inflate(body, content_encoding)
        self._bytes += len(inflated)
        try:
            yield inflated
        finally:
            self._bytes -= len(inflated)


def inflate(body: bytes, content_encoding: str | None) -> bytes:
    """The body as JSON text bytes: gunzipped when it says so, at most BODY_BYTES_MAX, valid UTF-8."""
    if content_encoding and content_encoding.strip().lower() == "gzip":
        unzip = zlib.decompressobj(wbits=31)
        try:
            body = unzip.decompress(body, BODY_BYTES_MAX + 1)
        except zlib.error:
            raise Problem(400, "invalid_gzip", "the body is not gzip, though Content-Encoding says so") from None
        if not unzip.eof and len(body) <= BODY_BYTES_MAX:
            raise Problem(400, "invalid_gzip", "the gzip body is cut short")
    elif content_encoding and content_encoding.strip().lower() != "identity":
        raise Problem(415, "unsupported_encoding", "only gzip is accepted as Content-Encoding")
    if len(body) > BODY_BYTES_MAX:
        raise Problem(413, "body_too_large", f"a body may hold {BODY_BYTES_MAX} bytes at most")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise not_json_because(f"byte {error.start} is not UTF-8") from None
    return body


def not_json(body: bytes, error: Exception) -> Problem:
    """400 for a body that a decoder refused as a whole; says why in words that a caller can use."""
    return not_json_because(_whynot_json_because(body, error))


def _whynot_json_because(body: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    try:
        check_syntax(body)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError:
        return str(error)
    return "it holds a lone surrogate, which is no character"


def check_syntax(text: bytes) -> None:
    """Raise ValueError when a text is no JSON, RecursionError when it nests too deeply to tell."""
    # NaN and Infinity are not JSON, though Python reads them; digits beyond its limit are.
    json.loads(text.decode(), parse_constant=_refuse_constant, parse_int=str)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def not_json_because(why: str) -> Problem:
    """400 for a body that is no JSON, with the reason."""
    return Problem(400, "not_json", f"the body is not JSON: {why}")
