"""A child of a site: it starts its pipe, says hello, serves orders, and at last ends the pipe."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from coworker.child.body import Body
from coworker.child.child import Title
from coworker.child.claimer import Claimer, DatabaseLostError
from coworker.child.connect import adapter_of, client_of, connect, way
from coworker.child.control import Control
from coworker.child.memory_gauge import MemoryGauge
from coworker.child.output import SOMEBODY_ELSE
from coworker.child.site_probe import SiteProbe
from coworker.child.tokens import Tokens
from coworker.child.worker import Worker
from coworker.civi import opcache
from coworker.civi.connection import Connection, SiteClient
from coworker.civi.fingerprint import CodeDirectory, watcher
from coworker.civi.launch import settings_are_fresh
from coworker.civi.looking import Looker
from coworker.civi.pages import told_briefly
from coworker.civi.pipe import PipeEndedError
from coworker.civi.refusals import is_database_error
from coworker.claims.beginnings import CANNOT_NOTE, Notes, beginnings_file
from coworker.claims.journal import Journal, child_file
from coworker.config.remote import seems_remote
from coworker.config.settings import SiteSettings
from coworker.errors import (
    BootError,
    CallError,
    LeftBehindError,
    MemoryExceededError,
    PipeGoneError,
    PipeTimeoutError,
    SiteError,
)
from coworker.ipc.link import ChildLink, RetireNowError
from coworker.ipc.messages import BootFailed, Bye, Failed, Note, Ready, Spawned
from coworker.model import ExitStatus, RetireReason, Role
from coworker.unix.poller import Poller, steady
from coworker.unix.proc import process
from coworker.version import version_key

RUN_AS_SELECTABLE = (5, 56)  # claimItems knows `select: run_as` from this CiviCRM on (contract A3)
# What the end of a pipe tells of its cause: signals meant for the daemon (rule 5) and KILL come from others,
# and a shell says them by an exit status.
CAUSES = {
    ExitStatus(code=CANNOT_NOTE): RetireReason.NOT_NOTED,
    ExitStatus(code=SOMEBODY_ELSE): RetireReason.LEFT_BEHIND,
} | {
    status: RetireReason.KILLED if name == "KILL" else RetireReason.SIGNAL
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "KILL")
    for status in (ExitStatus(signal=Signals[f"SIG{name}"]), ExitStatus(code=128 + Signals[f"SIG{name}"]))
}
IMPATIENT = (0.0, 1.0)  # the ladder of a pipe that must go now: TERM at once, KILL a second later


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child is told when it is forked. `claims` is the directory of the journals."""

    id: int
    slot: int
    role: Role
    site: SiteSettings
    claims: Path
    domain: int | None = None  # the one whose own pipe `site.pipe` is; None if it is the site's
    token: str = ""  # by which the processes of its pipe are known
    opcache: Path | None = None  # where PHP may keep compiled code: see civi.opcache

    @property
    def name(self) -> str:
        """The name of the child in its process title."""
        number = f" {self.slot}" if self.role is Role.WORKER else " "
        return f"{self.role.value}{number} {self.site.name}"


def live(birth: Birth, link: ChildLink, poller: Poller, title: Title) -> Bye:
    """Live as a child of a site: start the pipe, serve orders, and whatever happens then, end it."""
    started = steady()
    notes = _make_notes(birth)
    directory = _code_directory(birth)  # before the pipe: it has this code, or newer
    cache = _code_cache(birth, link)
    try:
        pipe = connect(birth.site, birth.role, poller, notes.path, cache, birth.token)
    except BootError as error:
        link.report(BootFailed(str(error), error.retry_after))
        return Bye("boot failed", "it has no pipe")
    reason, body = "master gone", None
    try:
        link.report(Spawned(*process(pipe.group)))
        pipe.meanwhile = link.tend
        body = _boot(birth, link, poller, pipe, title, started, notes, directory, cache)
        reason = body.serve()
    except BootError as error:
        reason = "boot failed"
        pipe.end()
        link.report(BootFailed(str(error), error.retry_after))
    except SiteError as error:
        link.say_what_is_left()
        if not isinstance(error, LeftBehindError):  # after that one nothing runs: PHP may end as it likes
            pipe.end(patience=IMPATIENT)
        if isinstance(body, Worker):
            error = body.gauge.explain(error)
        reason = _cause(error).value
        link.post(Failed(reason, _message(error, pipe)))
    except RetireNowError as order:
        reason = order.reason
        link.say_what_is_left()
        pipe.end(patience=IMPATIENT)
        if reason == RetireReason.TIMEOUT.value:
            too_late = PipeTimeoutError("timeout: it took too long and was ended")
            link.post(Failed(reason, _message(too_late, pipe)))
    finally:
        pipe.end()
        if body is not None:
            body.output.tell()
    return Bye(reason, str(pipe.end()), pipe.survives)


def _make_notes(birth: Birth) -> Notes:
    """Make the file in which a worker's pipe notes what it begins, if it can be one that does (rule 4)."""
    local = way(birth.site, birth.role) == "pipe" and not birth.site.is_remote
    is_worker = birth.role is Role.WORKER
    return Notes(beginnings_file(birth.claims, os.getpid(), birth.id) if local and is_worker else None)


def _code_directory(birth: Birth) -> CodeDirectory | None:
    """The release that the pipe is about to be started from, if its directory is known and ours to see."""
    site = birth.site
    return CodeDirectory(site.cwd) if site.cwd is not None and _code_is_here(site, birth.role) else None


def _code_cache(birth: Birth, link: ChildLink) -> Path | None:
    """The directory for the compiled code of the pipe, if it is to have one. Control looks after them all."""
    if birth.opcache is None or not birth.site.opcache or way(birth.site, birth.role) != "pipe":
        return None
    try:
        cache = opcache.prepare(birth.site, birth.opcache)
    except opcache.NoCacheError as error:
        if birth.role is Role.CONTROL:
            link.post(Note("debug", "no_opcache", {"reason": str(error)}))
        return None
    if birth.role is Role.CONTROL:
        opcache.prune(birth.opcache)
    return cache


def _tell_if_unused(cache: Path | None, link: ChildLink) -> None:
    """Say so if a boot left no compiled code."""
    with suppress(OSError):
        if cache is not None and not any(cache.iterdir()):
            reason = "PHP has no OPcache for the command line, or its disk is full"
            link.post(Note("debug", "no_opcache", {"reason": reason}))


def _code_is_here(site: SiteSettings, role: Role) -> bool:
    """Whether the code that this role's connection runs lies on this machine, and is to be watched."""
    remote = seems_remote(site.pipe) if site.remote is None else site.remote
    return site.watch_code and way(site, role) == "pipe" and not remote


def _open_journal(birth: Birth, pipe: Connection) -> Journal:
    """Open the journal, control's too: it names the pipe, which must not outlive us. Raises BootError."""
    path = child_file(birth.claims, os.getpid(), birth.id)
    try:
        return Journal(path, birth.site.name, pipe.pid, remote=birth.site.is_remote, token=birth.token)
    except OSError as error:
        raise BootError(f"the claims journal {path} cannot be written: {error.strerror}") from error


def _boot(
    birth: Birth,
    link: ChildLink,
    poller: Poller,
    pipe: Connection,
    title: Title,
    started: float,
    notes: Notes,
    directory: CodeDirectory | None,
    cache: Path | None,
) -> Body:
    """Open the journal, shake hands, make the body and report that it is ready. Raises BootError."""
    journal = _open_journal(birth, pipe)
    limit = birth.site.workers.boot_timeout
    token_of = Tokens(link, poller).of if birth.role is Role.WORKER and birth.site.is_hybrid else None
    client = client_of(birth.site, pipe, token_of)
    welcome = client.handshake(minimum_version=birth.site.civicrm_version, deadline=started + limit)
    body: Body
    gives_back = domain = None
    old = version_key(welcome.version) < RUN_AS_SELECTABLE
    claimer = Claimer(birth.id, link, client, limit, journal, notes, old)
    common = (birth.id, link, poller, client, limit, title)
    if birth.role is Role.CONTROL:
        looker = _try_to_look(client)
        adapter = adapter_of(birth.site, poller, cache)
        probe = _probe(birth.site, client, welcome.version, imports=looker.features.user_jobs)
        body = Control(*common, looker, claimer, probe, adapter, directory)
        _tell_if_unused(cache, link)
        gives_back = body.gives_back
        title.say("")
    else:
        domain = _own_domain(client, birth.domain)
        limits = birth.site.workers
        memory = (limits.max_memory, limits.hard_memory) if pipe.pid else (0, 0)  # over HTTP it is the site's
        gauge = MemoryGauge(pipe.pid, link, *memory)
        pipe.on_second = gauge.while_busy
        notes.opened()
        body = Worker(*common, claimer, gauge, birth.site.is_remote, domain, directory=directory)
        title.show(None, None, 0)
    body.output.tell()
    boot_seconds = round(steady() - started, 3)
    link.post(Ready(welcome.version, boot_seconds, gives_back, domain, notes.usable))
    if isinstance(body, Control) and (state := body.probe.observe()) is not None:
        link.post(state)  # before it is asked to look for work
    link.flush()
    return body


def _probe(site: SiteSettings, client: SiteClient, version: str, *, imports: bool) -> SiteProbe:
    digest = watcher(site.cwd) if _code_is_here(site, Role.CONTROL) else None
    fresh = settings_are_fresh(site)
    probe = SiteProbe(client, version, digest, masked=client.masks_errors, imports=imports, fresh=fresh)
    probe.read_settings()
    return probe


def _own_domain(client: SiteClient, wanted: int | None) -> int | None:
    """The domain that this pipe serves, fixed at its boot (contract A2). Raises BootError if it is wrong."""
    own = _asked_domain(client)
    if wanted not in (None, own):
        raise BootError(
            f"the pipe {client.pipe.command!r} of domain {wanted} serves domain {own or 'unknown'}"
        )
    return own


def _asked_domain(client: SiteClient) -> int | None:
    try:
        rows = client.api4("Domain", "get", {"select": ["id"], "currentDomain": True})
        return int(rows[0]["id"])
    except CallError as error:
        if is_database_error(str(error)):
            raise BootError(f"the pipe {client.pipe.command!r} has no database: {error}") from error
    except (LookupError, TypeError, ValueError):
        pass
    return None


def _try_to_look(client: SiteClient) -> Looker:
    """Make the looker. A site that says hello without a database is down. Raises BootError."""
    looker = Looker(client)
    try:
        client.api4("Queue", "get", {"select": ["id"], "limit": 1})
    except CallError as error:
        if is_database_error(str(error)):
            raise BootError(f"the pipe {client.pipe.command!r} cannot look for work: {error}") from error
    return looker


def _cause(error: SiteError) -> RetireReason:
    if isinstance(error, DatabaseLostError):
        return RetireReason.DATABASE
    if isinstance(error, PipeTimeoutError):
        return RetireReason.TIMEOUT
    if isinstance(error, MemoryExceededError):
        return RetireReason.MEMORY
    if isinstance(error, LeftBehindError):
        return RetireReason.LEFT_BEHIND
    if isinstance(error, PipeEndedError):
        return CAUSES.get(error.exit_status, RetireReason.DIED)
    return RetireReason.DIED if isinstance(error, PipeGoneError) else RetireReason.PROTOCOL


def _message(error: SiteError, pipe: Connection) -> str:
    """What happened, how the process ended, and its last words."""
    said = (("stderr", pipe.stderr_tail), ("stdout", pipe.take_noise()))
    words = "".join(f"; {name}: {told_briefly(text).strip()}" for name, text in said if text.strip())
    how = "" if isinstance(error, PipeEndedError) else f" ({pipe.end()})"  # that one says so itself
    return f"{error}{how}{words}"
