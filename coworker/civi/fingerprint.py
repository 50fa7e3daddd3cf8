"""What changes when a site's code does: CiviCRM's version file, libraries, extensions, and links.

A long-lived PHP process goes on with the code it has loaded (contract D9). Of files only the stamps are read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
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


class Fingerprint:
    """The state of the code of the site that a directory belongs to. Without a site nothing ever changes."""

    def __init__(self, cwd: Path | None, environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
        self._cwd = cwd or shell_directory(environ)
        try:
            self._root: Path | None = detect(self._cwd, environ).root
        except (NoSiteError, OSError):
            self._root = None
        self._stamps = self._read_stamps()

    def digest(self) -> tuple[str, str]:
        """Return a digest, and what differs from when this was made: the first path, or ""."""
        now = self._read_stamps()
        text = repr(sorted(now.items()))
        changed = sorted({path for path in {*now, *self._stamps} if now.get(path) != self._stamps.get(path)})
        return hashlib.sha256(text.encode()).hexdigest()[:16], changed[0] if changed else ""

    def _read_stamps(self) -> Stamps:
        if self._root is None:
            return {}
        stamps: Stamps = {
            str(self._cwd): os.path.realpath(self._cwd),
            str(self._root): os.path.realpath(self._root),
        }
        for pattern in (*_FILES, *_EXTENSIONS):
            for path in self._root.glob(pattern):
                try:
                    status = path.stat()
                except OSError:
                    continue  # it is just being replaced
                stamps[str(path)] = (status.st_mtime_ns, status.st_size, status.st_ino)
                stamps[str(path.parent)] = os.path.realpath(path.parent)
        return stamps


def watcher(cwd: Path | None) -> Callable[[], tuple[str, str]]:
    """The digest function of a site whose files are local."""
    return Fingerprint(cwd).digest
