"""Which CiviCRM site a directory belongs to (contract C). It sees files only, and boots nothing.

The order is that of CiviCRM's own tools: the directory itself and then each above it; in each, all kinds of
site in the directory, and in its `web/` (a Standalone also in `srv/`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coworker.errors import SetupError


@dataclass(frozen=True, slots=True)
class SiteKind:
    """A kind of site. `signs`: files that tell its root; `settings`: where civicrm.settings.php may be."""

    name: str  # as CIVICRM_BOOT spells it
    title: str
    signs: tuple[str, ...]
    settings: tuple[str, ...]
    below: tuple[str, ...] = ("", "web")


_DRUPAL_SETTINGS = ("sites/*/civicrm.settings.php",)
KINDS = (
    SiteKind(
        "WordPress", "WordPress", ("wp-load.php",),
        ("*/uploads/civicrm/civicrm.settings.php", "*/plugins/civicrm/civicrm.settings.php",
         "*/uploads/sites/*/civicrm/civicrm.settings.php",
         "*/blogs.dir/*/files/civicrm/civicrm.settings.php"),
    ),
    SiteKind(
        "Joomla", "Joomla", ("administrator/components/com_users/users.php", "libraries/src/Factory.php"),
        ("administrator/components/com_civicrm/civicrm.settings.php",),
    ),
    SiteKind("Drupal", "Drupal 7", ("modules/system/system.module",), _DRUPAL_SETTINGS),
    SiteKind("Drupal8", "Drupal 8+", ("core/core.services.yml",), _DRUPAL_SETTINGS),
    SiteKind(
        "Backdrop", "Backdrop", ("core/modules/layout/layout.module",),
        ("civicrm.settings.php", *_DRUPAL_SETTINGS),
    ),
    SiteKind(
        "Standalone", "CiviCRM Standalone", ("civicrm.standalone.php", "civicrm.config.php.standalone"),
        ("private/civicrm.settings.php", "data/civicrm.settings.php", "civicrm.settings.php"),
        ("", "web", "srv"),
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}
_BOOT = re.compile(r"(\w+)://(?:[^@/]*@)?([^?]*)(?:\?(.*))?")


class NoSiteError(SetupError):
    """There is no CiviCRM site here, or it cannot be told which."""


@dataclass(frozen=True, slots=True)
class Found:
    """A site that was found. `settings`: its civicrm.settings.php, several in a multisite, maybe none.

    `by`: what said so, "files" or the name of a variable. `url`: which site of a multisite, if that is said.
    `outer`: other sites around it. `cwd`: where its pipes start.
    """

    kind: SiteKind
    root: Path
    cwd: Path
    by: str = "files"
    url: str | None = None
    settings: tuple[Path, ...] = ()
    outer: tuple[Found, ...] = field(default=(), compare=False)

    @property
    def what(self) -> str:
        return f"{self.kind.title} in {self.root}"


def detect(start: Path, environ: Mapping[str, str]) -> Found:
    """Find the site that `start` (absolute) belongs to. CIVICRM_BOOT and CIVICRM_SETTINGS go before files.

    Raises NoSiteError with one line that says where it searched, or why it cannot be told.
    """
    url = environ.get("HTTP_HOST") or None
    if boot := environ.get("CIVICRM_BOOT"):
        return _of_boot(boot, start, url)
    settings = environ.get("CIVICRM_SETTINGS")
    if settings and settings != "Auto":
        return _of_settings(Path(settings), start, url)
    return _search(start, url, "files")


def _of_boot(boot: str, start: Path, url: str | None) -> Found:
    """Read `Type://[user@]/path[?host=…]`, or `Auto://.` for a search from here."""
    match = _BOOT.fullmatch(boot)
    if not match or match[1] not in ("Auto", *BY_NAME):
        kinds = ", ".join(BY_NAME)
        raise NoSiteError(f"CIVICRM_BOOT={boot}: must be Type://path, its type one of Auto, {kinds}")
    path = start if match[2].strip("/") == "." else Path("/" + match[2].strip("/"))
    host = re.search(r"(?:^|&)host=([^&]+)", match[3] or "")
    url = host[1] if host else url
    if match[1] == "Auto":
        return _search(path, url, "CIVICRM_BOOT")
    kind = BY_NAME[match[1]]
    if not path.is_dir():
        raise NoSiteError(f"CIVICRM_BOOT={boot}: there is no directory {path}")
    return Found(kind, path, _standing(start, path), "CIVICRM_BOOT", url, _settings(kind, path))


def _of_settings(settings: Path, start: Path, url: str | None) -> Found:
    if not settings.is_file():
        raise NoSiteError(f"CIVICRM_SETTINGS={settings}: there is no such file")
    around = next(_roots(settings.parent), None)
    kind, root = around or (BY_NAME["Standalone"], settings.parent)
    return Found(kind, root, _standing(start, root), "CIVICRM_SETTINGS", url, (settings,))


def _search(start: Path, url: str | None, by: str) -> Found:
    roots = dict.fromkeys(_roots(start))
    sites = [
        Found(kind, root, _standing(start, root), by, url, _settings(kind, root)) for kind, root in roots
    ]
    if not sites:
        searched = ", ".join(str(each) for each in (start, *start.parents))
        raise NoSiteError(
            f"no CiviCRM site found in {searched} (nor in web/ or srv/ of these): "
            "start in a site's folder, or give --cwd or --pipe"
        )
    first, *others = sites
    beside = [o for o in others if first.root in o.root.parents or _contradicts(o, first)]
    if beside and bool(first.settings) == bool(beside[0].settings):
        say = " or ".join(f"CIVICRM_BOOT={each.kind.name}:/{each.root}" for each in (first, beside[0]))
        raise NoSiteError(f"two sites: {first.what} and {beside[0].what}: say which with {say}")
    if not first.settings and (better := [site for site in others if site.settings]):
        raise NoSiteError(
            f"the nearest site, {first.what}, has no CiviCRM, but {better[0].what} has: "
            f"give --cwd={better[0].root}"
        )
    outer = tuple(o for o in others if o.root != first.root)
    return Found(first.kind, first.root, first.cwd, by, url, first.settings, outer)


def _contradicts(other: Found, first: Found) -> bool:
    """Whether one directory is two kinds of site, each with a CiviCRM of its own."""
    return other.root == first.root and not set(other.settings) <= set(first.settings)


def _roots(start: Path) -> Iterator[tuple[SiteKind, Path]]:
    """Yield every root from `start` upwards, the nearest first."""
    for directory in (start, *start.parents):
        for kind in KINDS:
            for below in kind.below:
                root = directory / below
                if _has_any(root, kind.signs):
                    yield kind, root


def _has_any(root: Path, signs: Sequence[str]) -> bool:
    return any(os.path.exists(root / sign) for sign in signs)  # noqa: PTH110 - False where we may not search


def _settings(kind: SiteKind, root: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for pattern in kind.settings for path in sorted(root.glob(pattern))))


def _standing(start: Path, root: Path) -> Path:
    """Return where pipes start: in a multisite the directory that one stands in says which site it is."""
    return start if start == root or root in start.parents else root
