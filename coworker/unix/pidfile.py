"""A directory that one daemon owns: a locked file with its pid.

The lock, not the file, tells whether a daemon lives: a stale file is simply taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from coworker.errors import SetupError


def prepare_directory(path: Path, setting: str, mode: int = 0o750) -> list[Path]:
    """Make `path` and what is missing above it, and see that it can be written. Returns what was made.

    Raises SetupError with what to do.
    """
    made = []
    try:
        for directory in [*reversed(path.parents), path]:
            if not directory.exists():
                directory.mkdir(mode=mode if directory == path else 0o755)
                made.append(directory)
        path.stat()
        if not path.is_dir():
            raise NotADirectoryError(20, "is not a directory")
    except OSError as error:
        raise SetupError(
            f"{setting} = {path}: cannot be made: {error.strerror}; "
            f"make it for the user of the daemon, or set {setting} to a directory that can be written"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SetupError(
            f"{setting} = {path}: cannot be written by uid {os.geteuid()}; "
            f"give it to the user of the daemon (chown), or set {setting} to another directory"
        )
    return made


class LockFile:
    """A file that is locked for this process and contains its pid.

    Raises SetupError when another daemon has it (with its pid), or when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            self._fd = self._open()
            self._lock()
            if self._is_in_place():
                break
            os.close(self._fd)  # its owner removed it while we opened it
        self._write_pid()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SetupError(f"{self.path}: {error.strerror}") from error

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise SetupError(
                f"another coworker (pid {owner}) already uses {self.path.parent}; "
                "stop it first, or give this one its own run_dir and state_dir"
            ) from None

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except FileNotFoundError:
            return False

    def _write_pid(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise SetupError(f"{self.path}: cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Remove the file and let go of the lock."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self._fd)
