"""What can be said without asking any site: settings, directories, who we are, which files are ours."""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from coworker.civi.detect import NoSiteError, detect
from coworker.civi.launch import expand, shell_directory, uses_adapter
from coworker.config.connection import warnings
from coworker.config.remote import seems_remote
from coworker.config.settings import Config, SiteSettings
from coworker.doctor.findings import Findings, bad, doubtful, good
from coworker.master.daemon import PID_FILE

CACHES = ("*/uploads/civicrm/templates_c", "sites/*/files/civicrm/templates_c", "files/civicrm/templates_c",
          "administrator/components/com_civicrm/civicrm/templates_c", "private/compiler_cache",
          "private/cache/templates_c", "data/templates_c")  # fmt: skip
LEAST_LEASE = 16  # seconds: shorter ones cannot be renewed in time


def check_settings(config: Config) -> Findings:
    """Show the settings. The file was read already, or nobody would call this."""
    names = ", ".join(str(file) for file in config.files) or "none: command line and environment"
    yield good("settings", f"{names}; sites {', '.join(site.name for site in config.sites)}")
    for site, text in warnings(config):
        what, _, advice = text.partition(": ")
        yield doubtful("settings", f"{site}: {what}", advice)


def check_limits(site: SiteSettings) -> Findings:
    """Show the limits over several queues; the preset one is in no file."""
    for total in site.totals:
        yield good("concurrency_total", str(total))


def check_directories(config: Config) -> Findings:
    """Check the directories without making them, and whether a daemon has them already."""
    for name in ("run_dir", "state_dir"):
        path: Path = getattr(config.coworker, name)
        there = next(each for each in (path, *path.parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            advice = f"give it to {_me()} (chown), or set {name} to another directory"
            yield bad(name, f"{path} cannot be {'written' if there == path else 'made'} by {_me()}", advice)
        else:
            yield good(name, str(path) if there == path else f"{path} will be made")
    if pid := _running(config.coworker.run_dir / PID_FILE):
        yield good("daemon", f"runs, pid {pid}")


def _running(file: Path) -> str:
    """Return the pid of the daemon that has this lock; "" if nobody does."""
    try:
        with file.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return file.read_text().strip()
    except OSError:
        pass
    return ""


def check_user(config: Config) -> Findings:
    """Check the user that pipes run as."""
    if os.geteuid():
        yield good("user", _me())
    elif config.coworker.allow_root:
        yield doubtful("user", "root: CiviCRM's caches would become root's", "set coworker.user")
    else:
        yield bad("user", "root is refused", 'set coworker.user, such as "www-data"')


def check_files(site: SiteSettings, environ: Mapping[str, str]) -> Findings:
    """Check whether CiviCRM's caches belong to who would write them."""
    if site.ssh is not None or not site.needs_pipe or seems_remote(site.pipe):
        return
    try:
        found = detect(site.cwd or shell_directory(environ), environ)
    except NoSiteError:
        yield doubtful("site", "no CiviCRM site is found from its directory", "set cwd to the site's folder")
        return
    yield good("site", f"{found.what}")
    for other in found.outer:
        yield doubtful("site", f"there is another around it, {other.what}")
    if not found.settings:
        yield doubtful("site", "it has no civicrm.settings.php", "is CiviCRM installed there?")
    caches = [path for pattern in CACHES for path in found.root.glob(pattern)]
    for path in caches or found.settings[:1]:
        owner = _name(path.stat().st_uid)
        if path.stat().st_uid == os.geteuid():
            yield good("owner", f"{path} belongs to {owner}, as we do")
        elif caches:
            advice = f'run as {owner}: coworker.user = "{owner}"'
            yield bad("owner", f"{path} belongs to {owner}, we are {_me()}", advice)
        else:
            yield doubtful(
                "owner", f"{path} belongs to {owner}, we are {_me()}", "which user is the web server?"
            )


def check_command(site: SiteSettings) -> Findings:
    """Check whether the program that starts a site's pipe is there."""
    if not site.needs_pipe:
        return
    if uses_adapter(site.pipe):
        php = (os.environ.get("COWORKER_PHP") or "php").split()[0]
        if shutil.which(php):
            yield good("command", f"{site.pipe}: {shutil.which(php)}")
        else:
            advice = "install php-cli, or set COWORKER_PHP"
            yield bad("command", f"{site.pipe} needs {php}, which is not found", advice)
        return
    program = _program(expand(site.pipe))
    if program is None:
        yield good("command", "a shell line")
    elif shutil.which(program):
        yield good("command", f"{program}: {shutil.which(program)}")
    else:
        yield bad("command", f"{program} is not found in PATH", "install it, or give its whole path in pipe")


def _program(command: str) -> str | None:
    """Return the first word that is a program; None where only a shell could tell."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    for word in words:
        if word == "exec" or ("=" in word and not word.startswith(("=", "/"))):
            continue
        return word if all(char not in word for char in "$(){};&|<>*") and word not in ("cd", "env") else None
    return None


def _me() -> str:
    return _name(os.geteuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
