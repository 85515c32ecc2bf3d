"""Several statements and the rows of a COPY among them in one exchange with PostgreSQL.

psycopg's cursors wait for the answer to each statement, and for that to a COPY before its rows. Who holds
what others wait for cannot afford that.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from psycopg import AsyncConnection, errors, generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

# libpq moves what it has not sent yet each time it sends: pieces keep that short.
_PIECE_BYTES = 256 * 1024


async def exchange(
    connection: AsyncConnection[Any],
    statements: Sequence[str],
    copied: Callable[[list[PGresult]], bytes] = lambda _results: b"",
) -> None:
    """Send statements as one message, and wait until all are done.

    Where one is `copy ... from stdin`, `copied` is asked for what to send, given the results before it, in text
    form. The first statement that fails ends the message, and is raised as psycopg would; a transaction that it
    was in is the caller's to roll back.
    """
    async with connection.lock:
        try:
            results = await connection.wait(_exchange(connection.pgconn, ";".join(statements).encode(), copied))
        except BaseException:
            if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:  # of no use to anybody any more
                await connection.close()
            raise
    for result in results:
        if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            raise errors.error_from_result(result, encoding=connection.info.encoding)


def _exchange(pgconn: PGconn, message: bytes, copied: Callable[[list[PGresult]], bytes]) -> PQGen[list[PGresult]]:
    results: list[PGresult] = []
    pgconn.send_query(message)
    yield from generators.send(pgconn)
    while (result := (yield from generators.fetch(pgconn))) is not None:
        if result.status == ExecStatus.COPY_IN:
            for piece in _pieces(copied(results)):
                yield from generators.copy_to(pgconn, piece, flush=False)
                yield from generators.send(pgconn)
            pgconn.put_copy_end()
            yield from generators.send(pgconn)
        else:
            results.append(result)
    return results


def _pieces(data: bytes) -> Iterable[bytes]:
    if len(data) <= _PIECE_BYTES:
        return [data]
    return (data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
