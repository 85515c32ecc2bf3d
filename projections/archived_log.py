"""Reading the log where some of it is archived: a session sees one archived file in place of the table."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from projections.event_log import copy_pieces
from projections.queries import queries


class ArchiveError(Exception):
    """An archive that cannot be written, or does not hold what it must; the message names the file."""


async def show_log(
    connection: AsyncConnection[Any], project_id: UUID, position: int, archive: Path | None
) -> int | None:
    """Let `event_log` mean what holds a position, an archived file or the table; the last position of the file.

    What follows in the same transaction sees all of it, whatever is archived meanwhile. `archive` is
    the directory of the archive. Raises ArchiveError when the file is missing or was changed.
    """
    parameters = {"project_id": project_id, "position": position}
    row: Any = await (await connection.execute(queries("archive")["archived_at"], parameters)).fetchone()
    is_shown, first, last, file, sha256 = row
    if first is None:
        if is_shown:
            await _run(connection, "hide")
        return None
    if not (is_shown and await _shown(connection) == (project_id, first)):
        await _show(connection, project_id, archive, file, bytes(sha256))
    return int(last)


async def _shown(connection: AsyncConnection[Any]) -> tuple[UUID, int] | None:
    return await (await connection.execute(queries("archive")["shown"])).fetchone()


async def _show(
    connection: AsyncConnection[Any], project_id: UUID, archive: Path | None, file: str, sha256: bytes
) -> None:
    from projections.archive_files import read_file  # noqa: PLC0415  (slow to import, rarely used)

    if archive is None:
        raise ArchiveError(f"a part of the log is archived in {file}: set PROOFLOG_ARCHIVE_DIR to where that is")

    pieces = copy_pieces(project_id, read_file(archive / file, sha256))
    await _run(connection, "hide")
    await connection.execute(queries("archive")["show_nothing"])
    async with connection.cursor() as cursor, cursor.copy(queries("archive")["show_rows"]) as copy:
        while piece := await asyncio.to_thread(next, pieces, b""):
            await copy.write(piece)
    await _run(connection, "index_shown")


async def _run(connection: AsyncConnection[Any], name: str) -> None:
    # Several statements at once cannot be prepared.
    await connection.execute(queries("archive")[name], prepare=False)
