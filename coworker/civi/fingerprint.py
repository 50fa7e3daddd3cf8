"""What changes when a site's code does: CiviCRM's version file, libraries, extensions, and links.

A long-lived PHP process goes on with the code it has loaded (contract D9). Of files only the stamps are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from coworker.civi.detect import NoSiteError, detect
from coworker.civi.launch import shell_directory

Stamps = dict[str, tuple[int, ...] | str]

# Below the root; in projects of composer the libraries lie beside it.
_FILES = (
    "vendor/composer/installed.json",
    "../vendor/composer/installed.json",
    "core/vendor/composer/installed.json",
    "../vendor/civicrm/civicrm-core/civicrm-version.php",
    "vendor/civicrm/civicrm-core/civicrm-version.php",
    "core/civicrm-version.php",
    "modules/civicrm/civicrm-version.php",
    "modules/contrib/civicrm/civicrm-version.php",
    "administrator/components/com_civicrm/civicrm/civicrm-version.php",
    "wp-content/plugins/civicrm/civicrm/civicrm-version.php",
    "sites/*/modules/civicrm/civicrm-version.php",
    "sites/*/modules/contrib/civicrm/civicrm-version.php",
)
_EXTENSIONS = (
    "ext/*/info.xml",
    "files/civicrm/ext/*/info.xml",
    "media/civicrm/ext/*/info.xml",
    "sites/*/ext/*/info.xml",
    "sites/*/files/civicrm/ext/*/info.xml",
    "wp-content/uploads/civicrm/ext/*/info.xml",
)


class CodeDirectory:
    """The directory that a path led to when this was made: the code of a pipe that is started after that.

    A deployment switches a link in the path to the directory of a new release, and then deletes the old one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._number = self._look()
        with suppress(OSError):  # kept open, so that no new directory gets the number of a deleted one
            os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)

    @property
    def has_moved(self) -> bool:
        """Whether the path leads to another directory now, or nowhere. It takes one stat."""
        return self._number is None or self._look() != self._number

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class Fingerprint:
    """The state of the code of the site that a directory belongs to. Without a site nothing ever changes."""

    def __init__(self, cwd: Path | None, environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
        try:
            self._cwd = cwd or shell_directory(environ)
            self._root: Path | None = detect(self._cwd, environ).root
        except (NoSiteError, OSError):
            self._root = None
        self._first = self._read_stamps()
        self._read()

    @property
    def first_digest(self) -> str:
        """The digest as it was when this was made; "" if there is no site."""
        return _digest(self._first) if self._first else ""

    def digest(self, *, thorough: bool = True) -> tuple[str, str]:
        """Return a digest, and what differs from when this was made: the first path, or "".

        If not `thorough`, it only glances at the paths that it knows, which takes a tenth of the time: what
        is new in one of their directories is seen, files that appear in other places are not.
        """
        if thorough or [stamp(path) for path in self._known] != self._glanced:
            self._read()
        return self._digest

    def _read(self) -> None:
        """Read everything, and take down what a glance sees: the paths, and what they are listed in."""
        now, first = self._read_stamps(), self._first
        changed = sorted({path for path in {*now, *first} if now.get(path) != first.get(path)})
        self._digest = _digest(now), changed[0] if changed else ""
        self._known = sorted({*now, *map(os.path.dirname, now)})
        self._glanced = [stamp(path) for path in self._known]

    def _read_stamps(self) -> Stamps:
        if self._root is None:
            return {}
        stamps: Stamps = {
            str(self._cwd): os.path.realpath(self._cwd),
            str(self._root): os.path.realpath(self._root),
        }
        for pattern in (*_FILES, *_EXTENSIONS):
            for path in map(str, self._root.glob(pattern)):
                if found := stamp(path):  # else it is just being replaced
                    directory = os.path.dirname(path)  # noqa: PTH120
                    stamps[path] = found
                    stamps[directory] = os.path.realpath(directory)
        return stamps


def _digest(stamps: Stamps) -> str:
    return hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()[:16]


def stamp(path: str) -> tuple[int, ...]:
    """What changes when a file or a directory does; () if it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def code_digest(cwd: Path | None) -> str:
    """Return the digest of the code of the site that a directory belongs to; "" without a site."""
    return Fingerprint(cwd).first_digest


def watcher(cwd: Path | None) -> Callable[[bool], tuple[str, str]]:
    """The digest function of a site whose files are local; it is told whether to be thorough."""
    fingerprint = Fingerprint(cwd)
    return lambda thorough: fingerprint.digest(thorough=thorough)
