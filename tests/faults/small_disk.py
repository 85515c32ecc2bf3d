"""A disk small enough to fill: a file system of its own, in memory, which only root can mount."""

import os
import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system that can be filled to the last byte, and freed."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        directory.mkdir()
        self.directory = directory
        self._ballast = directory / "ballast"
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0711", "tmpfs", directory]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            directory.rmdir()
            pytest.skip(f"a disk that fills up needs the right to mount one: {mounted.stderr.strip()}")

    def fill(self) -> None:
        """Leave no room."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            self._grow(descriptor)
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Be rid of it and of all that it holds."""
        subprocess.run(["umount", "--lazy", self.directory], check=True)  # noqa: S607  (wherever it is)

    def _grow(self, descriptor: int) -> None:
        step = 16 << 20
        while step >= 4096:
            try:
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, step)
            except OSError:
                step //= 2
