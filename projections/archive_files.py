"""Archive files: a range of one project's log as Parquet, every column as the log had it, to the byte.

A directory for each archived range holds its files and manifest.json, which says what each must be.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from projections.archived_log import ArchiveError
from projections.chain import StoredRow
from projections.event_log import ROW_FIELDS_HASHED, postgres_us

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

# Microseconds from 1970, where Parquet's times begin, to 2000, where PostgreSQL's do.
_EPOCHS_APART_US = 946_684_800_000_000
_NULL = struct.pack(">i", -1)
_EIGHT = struct.pack(">i", 8)
_LENGTH = struct.Struct(">i")
_ROWS_AT_A_TIME = 5_000
_TIME = pa.timestamp("us", "UTC")
_ID = pa.binary(16)
# A row's fields behind received_at, in the order of the log's columns.
_FIELDS = [
    ("occurred_at", _TIME),
    ("event_id", _ID),
    ("source", pa.string()),
    ("experiment_id", _ID),
    ("variant_id", _ID),
    *((name, pa.string()) for name in ("event_type", "event_name", "visitor_id", "session_id", "pathname")),
    *((name, pa.string()) for name in ("full_url", "referrer", "utm", "event_data", "context")),
]
_SCHEMA = pa.schema([("project_id", _ID), ("position", pa.int64()), ("received_at", _TIME), *_FIELDS])


class Batch(NamedTuple):
    """What one commit appended: its place, its time, its digest, and its rows as the digest takes them in."""

    first_position: int
    received_at: datetime
    digest: bytes
    rows: Sequence[bytes]


class FileEntry(msgspec.Struct, frozen=True, rename="camel"):
    """What a manifest says of one file; digests are the chain's before its first and after its last row."""

    name: str
    first_position: int
    last_position: int
    received_from: datetime
    received_until: datetime
    rows: int
    bytes: int
    sha256: str
    digest_before: str
    digest_after: str


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a directory holds: consecutive positions of one project."""

    format_version: int = FORMAT_VERSION
    project_id: UUID
    first_position: int
    last_position: int
    received_from: datetime
    received_until: datetime
    digest_before: str
    digest_after: str
    files: list[FileEntry]


class ParquetFile:
    """A file that comes into being whole at the end of its `with`, or not at all."""

    def __init__(self, path: Path, project_id: UUID) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._project = project_id.bytes
        self._file = self._partial.open("wb")
        self._writer = pq.ParquetWriter(self._file, _SCHEMA, compression="zstd")

    def write(self, batches: Iterable[Batch]) -> None:
        """Add the rows of some batches."""
        positions: list[int] = []
        received: list[int] = []
        rows: list[bytes] = []
        for batch in batches:
            positions += range(batch.first_position, batch.first_position + len(batch.rows))
            received += [postgres_us(batch.received_at)] * len(batch.rows)
            rows += batch.rows
        arrays = [
            pa.array([self._project] * len(rows), _ID),
            pa.array(positions, pa.int64()),
            _times(np.array(received, np.int64)),
            *_columns(rows),
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._writer.close()
                _settle(self._file, self._partial, self._path)
        finally:
            with contextlib.suppress(Exception):  # of a disk that is full, for example
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()
            self._partial.unlink(missing_ok=True)


def read_file(path: Path, sha256: bytes) -> Iterator[StoredRow]:
    """A file's rows in order; ArchiveError when it is missing or not what was written."""
    whole = pq.read_table(pa.BufferReader(read_checked(path, sha256)), use_threads=False)
    if whole.schema != _SCHEMA:
        raise ArchiveError(f"{path} has other columns than an archive")
    # As objects of Python, the values of a file take ten times as much memory: some at a time.
    for at in range(0, whole.num_rows, _ROWS_AT_A_TIME):
        table = whole.slice(at, _ROWS_AT_A_TIME)
        received = _since_2000(table["received_at"])
        rows = map(b"".join, zip(*(_encoded(table[name]) for name, _ in _FIELDS), strict=True))
        yield from map(StoredRow, table["position"].to_pylist(), received.tolist(), rows)


def read_checked(path: Path, sha256: bytes) -> bytes:
    """A file's content; ArchiveError when it is missing or not what was written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"the archive {path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).digest() != sha256:
        raise ArchiveError(f"the archive {path} was changed: its sha256 is not the one that was recorded")
    return data


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write a directory's manifest whole."""
    path = directory / MANIFEST
    partial = path.with_name(f".{MANIFEST}.partial")
    with partial.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        _settle(file, partial, path)


def make_directory(root: Path, name: str) -> Path:
    """A durable directory below an existing one."""
    path = root / name
    for directory in [path, *path.parents][: len(Path(name).parts)][::-1]:
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)
    return path


def _settle(file: Any, partial: Path, path: Path) -> None:  # noqa: ANN401  (what open returns)
    file.flush()
    os.fsync(file.fileno())
    file.close()
    partial.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _columns(rows: Sequence[bytes]) -> list[pa.Array]:
    values = list(zip(*map(_split, rows), strict=True))
    occurred = np.frombuffer(b"".join(values[0]), ">i8").astype(np.int64)
    others = [
        pa.array(column, kind if kind == _ID else pa.binary()).cast(kind)
        for (_, kind), column in zip(_FIELDS[1:], values[1:], strict=True)
    ]
    return [_times(occurred), *others]


def _split(row: bytes) -> list[bytes | None]:
    fields: list[bytes | None] = []
    at = 0
    unpack = _LENGTH.unpack_from
    for _ in range(ROW_FIELDS_HASHED):
        (length,) = unpack(row, at)
        at += 4
        if length < 0:
            fields.append(None)
        else:
            fields.append(row[at : at + length])
            at += length
    return fields


def _times(since_2000: "np.ndarray[Any, Any]") -> pa.Array:
    return pa.array(since_2000 + _EPOCHS_APART_US, pa.int64()).cast(_TIME)


def _since_2000(column: pa.ChunkedArray) -> "np.ndarray[Any, Any]":
    since_1970: np.ndarray[Any, Any] = column.cast(pa.int64()).to_numpy()
    return since_1970 - _EPOCHS_APART_US


def _encoded(column: pa.ChunkedArray) -> list[bytes]:
    """A column's values in binary COPY form, each behind its length."""
    if column.type == _TIME:
        data = _since_2000(column).astype(">i8").tobytes()
        return [_EIGHT + data[at : at + 8] for at in range(0, len(data), 8)]
    pack = _LENGTH.pack
    return [_NULL if value is None else pack(len(value)) + value for value in column.cast(pa.binary()).to_pylist()]
