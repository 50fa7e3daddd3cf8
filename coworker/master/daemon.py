"""From settings to a running master: which user it is, which directories it has, where its log goes."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from coworker.child import connect as connecting
from coworker.claims import journal
from coworker.config.settings import Config, CoworkerSettings
from coworker.errors import ExitCode, SetupError
from coworker.log import Log, preload
from coworker.master.master import SIGNALS, Master
from coworker.unix.pidfile import LockFile, prepare_directory
from coworker.unix.signals import SignalInbox, has_terminal, unblock_all

PID_FILE = "coworker.pid"
LOCK_FILE = "lock"


def serve(config: Config, load: Callable[[], Config], name: str) -> ExitCode:
    """Run until stopped. `load` reads the settings again; `name` is for titles and the log.

    Raises SetupError, with nothing started, when the machine does not allow what the settings ask for.
    """
    settings = config.coworker
    refuse_root(settings)
    made: list[Path] = []
    try:
        _prepare(settings, made)
        connecting.preload(config)
        preload()  # the user that we become may not be allowed to read where Python is
        if settings.user is not None:
            become(settings.user)
        under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        outlives_terminal = under_nohup or not has_terminal()
        signals = SignalInbox(SIGNALS)  # before there is a file with our pid: who reads it may signal us
        unblock_all()
        with _locked(settings):
            claims = settings.state_dir / journal.DIRECTORY
            prepare_directory(claims, "state_dir", mode=0o700)
            made.append(claims)  # also if it was there: an empty one is of no use
            log = Log(config.log.level, config.log.format, config.log.file)
            return Master(config, load, log, name, signals, outlives_terminal=outlives_terminal).run()
    finally:
        for directory in reversed(made):
            with contextlib.suppress(OSError):  # not empty, or below a directory of root's
                directory.rmdir()


def refuse_root(settings: CoworkerSettings) -> None:
    """Refuse to stay root without leave. Raises SetupError."""
    stays_root = settings.user is None or _find_user(settings.user).pw_uid == 0
    if os.geteuid() == 0 and stays_root and not settings.allow_root:
        raise SetupError(
            "refusing to run as root: CiviCRM's caches would become root's and its web pages would fail; "
            'set coworker.user (such as "www-data"), or coworker.allow_root = true (COWORKER_ALLOW_ROOT=1)'
        )


def _prepare(settings: CoworkerSettings, made: list[Path]) -> None:
    """Make the directories; new ones are added to `made` and given to the user that we will become."""
    owner = _find_user(settings.user) if settings.user is not None else None
    for path, setting in ((settings.run_dir, "run_dir"), (settings.state_dir, "state_dir")):
        new = prepare_directory(path, setting)
        made += new
        if owner is not None:
            for directory in new:
                os.chown(directory, owner.pw_uid, owner.pw_gid)


def _find_user(user: str) -> pwd.struct_passwd:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise SetupError(f"coworker.user = {user}: there is no such user") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise SetupError(f"coworker.user = {user}: only root can become another user")
    return entry


def become(user: str) -> None:
    """Become this user, the master as well: nothing of coworker goes on as root. Raises SetupError."""
    entry = _find_user(user)
    if entry.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError as error:
        raise SetupError(f"coworker.user = {user}: only root can become another user") from error
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)


@contextlib.contextmanager
def _locked(settings: CoworkerSettings) -> Iterator[None]:
    """Keep other daemons out of our directories, which are checked once more as the user that we are now."""
    with contextlib.ExitStack() as locks:
        wanted = {settings.run_dir / PID_FILE: "run_dir", settings.state_dir / LOCK_FILE: "state_dir"}
        for path, setting in wanted.items():
            prepare_directory(path.parent, setting)
            locks.callback(LockFile(path).release)
        yield
