"""Where OPcache keeps the compiled code of a site, so that the boot of a pipe need not compile it again.

There is a directory for each state of the code and each PHP: OPcache itself compares only the times of files,
and those may be equal. It writes a file at once or not at all, so any number of pipes may share a directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from coworker.civi import launch
from coworker.civi.fingerprint import code_digest, stamp
from coworker.config.settings import SiteSettings

DIRECTORY = "opcache"  # below state_dir
SPARE = 256 << 20  # bytes that must be free: the journals of claims lie on the same disk
KEPT = 86_400.0  # seconds for which a directory that nobody uses is kept
_UNFIT = re.compile(r'["\\$\n]')  # what PHP would read as something else in the value of an option


class NoCacheError(Exception):
    """The compiled code of a site cannot be kept; the message says why."""


def prepare(site: SiteSettings, base: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for the pipes of this site, made if need be. Raises NoCacheError.

    PHP does not even start without it, so it must be sure that PHP can write there.
    """
    if site.is_remote or not launch.begins_with_adapter(site.pipe):
        raise NoCacheError("the pipe is not MINIPIPE alone, on this machine")
    code = code_digest(site.cwd)
    if not code:
        raise NoCacheError("the site was not found from cwd, so new code could not be told from old")
    parts = (_php(environ), stamp(str(launch.ADAPTER)), code)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    path = base / f"{site.name}-{digest}"
    if _UNFIT.search(str(path)):
        raise NoCacheError(f"PHP cannot be given the path {path}")
    try:
        _make(base)
        if shutil.disk_usage(base).free < SPARE:
            raise NoCacheError(f"less than {SPARE >> 20} MiB are free for {base}")
        _make(path)
        os.utime(path)  # it is in use: see prune
    except OSError as error:
        raise NoCacheError(f"{path} cannot be used: {error.strerror}") from error
    return path


def prune(base: Path) -> None:
    """Delete the directories that nobody has used for long; what goes wrong is left for the next time."""
    oldest = time.time() - KEPT
    with suppress(OSError):
        for path in base.iterdir():
            if path.lstat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _make(path: Path) -> None:
    """Make a directory that is ours alone: PHP runs what it finds there. Raises OSError, NoCacheError."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
    if not is_ours or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise NoCacheError(f"{path} is not a directory that we alone can write")


def _php(environ: Mapping[str, str]) -> tuple[object, ...]:
    """Return what differs between two PHPs, without starting them. Raises NoCacheError.

    A script of this name might run PHP elsewhere, as in a container, where our directory is not.
    """
    command = environ.get("COWORKER_PHP") or "php"
    found = shutil.which(command.split()[0] if command.strip() else "", path=environ.get("PATH"))
    path = os.path.realpath(found or "")
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            is_script = file.read(2) == b"#!"
    except OSError as error:
        raise NoCacheError(f"{command} cannot be read: {error.strerror}") from error
    if is_script or not os.path.basename(path).startswith("php"):  # noqa: PTH119
        raise NoCacheError(f"{command} is not PHP itself")
    return command, path, stamp(path)
