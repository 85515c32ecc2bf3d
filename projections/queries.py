"""Named SQL: each file under sql/ holds queries headed by `-- name: purpose`."""

import re
from functools import cache
from importlib import resources
from typing import LiteralString

_HEADER = re.compile(r"^-- (?P<name>[a-z_0-9]+): .+$", re.MULTILINE)


@cache
def queries(file: str) -> dict[str, LiteralString]:
    """The queries of sql/<file>.sql by name."""
    text = (resources.files("projections") / "sql" / f"{file}.sql").read_text("utf-8")
    heads = list(_HEADER.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    # Files of this package are as trusted as its code, which is what psycopg asks of a literal.
    found: dict[str, LiteralString] = {}
    for head, end in zip(heads, ends, strict=True):
        if head["name"] in found:
            raise ValueError(f"sql/{file}.sql names {head['name']} twice")
        found[head["name"]] = text[head.end() : end].strip().rstrip(";")
    return found
