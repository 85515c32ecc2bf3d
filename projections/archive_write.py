"""Writing a range of a project's log into an archive, and proving what was written against the hash chain."""

import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

from projections.archive_files import (
    Batch,
    FileEntry,
    Manifest,
    ParquetFile,
    make_directory,
    read_file,
    write_manifest,
)
from projections.archived_log import ArchiveError
from projections.chain import follows, stored_rows
from projections.event_log import received_at
from projections.queries import queries

# A reader holds a whole file in memory, as columns, and the replay of one is a step.
FILE_EVENTS_MAX = 100_000
FILE_BYTES_MAX = 64 * 1024 * 1024
_GROUP_EVENTS_MAX = 20_000
_BATCHES_AT_ONCE = 200


class PositionRange(NamedTuple):
    """Consecutive positions of one project, whole batches."""

    project_id: UUID
    first: int
    last: int


async def write_range(
    connection: AsyncConnection[Any],
    root: Path,
    wanted: PositionRange,
    on_progress: Callable[[int], None] = lambda _events: None,
) -> tuple[str, Manifest]:
    """Write positions into files below `root`, read them back, prove them; their place and its manifest.

    Raises ArchiveError when a file cannot be written, when the log's own rows do not follow from its
    chain, or when a file does not hold them.
    """
    time = await received_at(connection, wanted.project_id, wanted.first)
    name = f"{wanted.project_id}/{time:%Y-%m}_{wanted.first}-{wanted.last}"
    try:
        place = make_directory(root, name)
        manifest = await _write(connection, place, wanted, on_progress)
        write_manifest(place, manifest)
    except OSError as error:
        raise ArchiveError(f"the archive {root / name} cannot be written: {error.strerror or error}") from error
    return name, manifest


async def _write(
    connection: AsyncConnection[Any], place: Path, wanted: PositionRange, on_progress: Callable[[int], None]
) -> Manifest:
    parameters = {"project_id": wanted.project_id, "position": wanted.first}
    row = await (await connection.execute(queries("archive")["digest_before"], parameters)).fetchone()
    before = digest = bytes(row[0]) if row else bytes(32)
    files: list[FileEntry] = []
    first = wanted.first
    while first <= wanted.last:
        entry = await _write_file(connection, place, wanted._replace(first=first), digest)
        await _prove(connection, place, wanted.project_id, entry)
        files.append(entry)
        on_progress(entry.rows)
        first, digest = entry.last_position + 1, bytes.fromhex(entry.digest_after)
    return Manifest(
        project_id=wanted.project_id,
        first_position=wanted.first,
        last_position=wanted.last,
        received_from=files[0].received_from,
        received_until=files[-1].received_until,
        digest_before=before.hex(),
        digest_after=digest.hex(),
        files=files,
    )


async def _write_file(
    connection: AsyncConnection[Any], place: Path, wanted: PositionRange, digest: bytes
) -> FileEntry:
    """One file with the first of the wanted positions, as many as it takes."""
    path = place / f"{wanted.first:012d}.parquet"
    first, before = wanted.first, digest
    received_from = received_until = None
    events = size = 0
    with ParquetFile(path, wanted.project_id) as file:
        while first <= wanted.last and events < FILE_EVENTS_MAX and size < FILE_BYTES_MAX:
            group = await _next_batches(connection, wanted._replace(first=first), digest)
            file.write(group)
            events += sum(len(batch.rows) for batch in group)
            size += sum(len(row) for batch in group for row in batch.rows)
            received_from = received_from or group[0].received_at
            received_until, digest = group[-1].received_at, group[-1].digest
            first = group[-1].first_position + len(group[-1].rows)
    if received_from is None or received_until is None:
        raise ValueError("an archive file of no events")
    data = path.read_bytes()
    return FileEntry(
        name=path.name,
        first_position=wanted.first,
        last_position=first - 1,
        received_from=received_from,
        received_until=received_until,
        rows=events,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        digest_before=before.hex(),
        digest_after=digest.hex(),
    )


async def _next_batches(connection: AsyncConnection[Any], wanted: PositionRange, previous: bytes) -> list[Batch]:
    """Some batches from the first wanted position on, with rows that follow from the chain."""
    found = await _claims(connection, wanted, _GROUP_EVENTS_MAX)
    last = found[-1][0] + found[-1][1] - 1 if found else wanted.first - 1
    rows = await stored_rows(connection, wanted.project_id, wanted.first - 1, last)
    batches: list[Batch] = []
    position = wanted.first
    for first, count, received, digest in found:
        batch = rows[first - wanted.first :][:count]
        is_next = first == position
        if not is_next or not follows(previous, wanted.project_id, first, count, received, bytes(digest), batch):
            break
        previous = bytes(digest)
        batches.append(Batch(first, received, previous, [row.row for row in batch]))
        position = first + count
    if len(batches) < len(found) or not batches or len(rows) != last - wanted.first + 1:
        raise ArchiveError(
            f"positions from {position} on of project {wanted.project_id} are not what was written: "
            "see `prooflog log verify`"
        )
    return batches


async def _prove(connection: AsyncConnection[Any], place: Path, project_id: UUID, entry: FileEntry) -> None:
    """Read a file back and derive the chain from it alone."""
    rows = read_file(place / entry.name, bytes.fromhex(entry.sha256))
    digest = bytes.fromhex(entry.digest_before)
    wanted = PositionRange(project_id, entry.first_position, entry.last_position)
    while wanted.first <= wanted.last:
        for first, count, received, expected in await _claims(connection, wanted, FILE_EVENTS_MAX):
            part = list(islice(rows, count))
            if not follows(digest, project_id, first, count, received, bytes(expected), part):
                raise ArchiveError(f"{place / entry.name} does not hold position {first} as the log does")
            digest = bytes(expected)
            wanted = wanted._replace(first=first + count)
    if next(rows, None) is not None:
        raise ArchiveError(f"{place / entry.name} holds more than {entry.rows} rows")


async def _claims(
    connection: AsyncConnection[Any], wanted: PositionRange, events_max: int
) -> list[tuple[int, int, Any, bytes]]:
    """What the log says of the next batches: place, count, time, digest; one at least."""
    parameters = {**wanted._asdict(), "batches_max": _BATCHES_AT_ONCE}
    found = await (await connection.execute(queries("archive")["batches_of"], parameters)).fetchall()
    events = 0
    taken: list[tuple[int, int, Any, bytes]] = []
    for row in found:
        events += row[1]
        if taken and events > events_max:
            break
        taken.append(row)
    return taken
