"""The only parser of journals and checkpoints; it makes plain records of them.

It serves the master when a child died before it could say all, and a start after a KILL of everything. Times
are in the monotonic clock of now, even if they were written before the machine was booted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from coworker.claims import checked
from coworker.claims.beginnings import NOTES, Beginnings
from coworker.claims.checkpoint import SITE, LostIntent, SavedClaim, Snapshot
from coworker.claims.journal import MARK, VERSION
from coworker.ipc.messages import Ended, NotBegun, RunSent
from coworker.log import EventLog
from coworker.model import Item, Lease, QueueInfo, Unsettled
from coworker.unix.proc import Process, boot_id, pid_namespace, this_process

READABLE = (2, VERSION)  # versions
# What reading garbage may raise: brackets may be nested deeper than Python calls itself.
BROKEN = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


class ClaimSent(NamedTuple):
    """A claim was about to be sent, at `at` (monotonic seconds)."""

    queue: QueueInfo
    at: float


class ClaimAnswered(NamedTuple):
    """The claim was answered with these items of `queue`; those with the ids `begun` were run at once."""

    claim: str
    queue: QueueInfo
    items: list[Item]
    lease: Lease
    begun: list[str]


class ClaimGaveNothing(NamedTuple):
    """The claim was answered and gave nothing, or not a byte of it was sent."""


class TakenOver(NamedTuple):
    """Items of another worker's claim were to be run by this one."""

    claim: str
    queue: QueueInfo
    items: list[Item]
    leases: list[Lease]


OfItems = RunSent | NotBegun | Ended  # in a journal they mean what they mean in a report
Record = ClaimSent | ClaimAnswered | ClaimGaveNothing | TakenOver | OfItems


class Remains(NamedTuple):
    """A file that a former daemon left. Its `child` and `pipe` must be gone before it is read.

    They are None where their pids mean nothing: after another boot of the machine nothing of them runs;
    `elsewhere`, in another pid namespace, they may run where we cannot see them. `token` is in the
    environment of what the pipe started, "" in older files. `in_hand`: the child had claimed, or was
    claiming, what had not ended.
    """

    path: Path
    site: str
    child: Process | None = None
    pipe: Process | None = None
    token: str = ""
    remote: bool = False
    elsewhere: bool = False
    in_hand: bool = False


class Remembered(NamedTuple):
    """What a file says. `master`: whose claims have these names; `remote`: the pipe is out of our reach.

    `notes` is what the child's pipe noted; of another boot of the machine it says nothing.
    """

    master: str
    remote: bool
    records: list[Record]
    site: Snapshot | None
    notes: Beginnings


def scan(directory: Path, log: EventLog) -> list[Remains]:
    """Every file that a former daemon left. Those that nobody can read are set aside, with an error."""
    found = []
    for path in directory.glob("*.new"):
        path.unlink()  # a former master was killed while it wrote this
    for path in directory.glob(f"*{NOTES}"):
        pid = path.name.partition("-")[0]
        if not path.with_suffix(".claims").exists() and not Path("/proc", pid).exists():
            path.unlink()  # its worker was killed while it began
    for path in sorted(directory.glob("*.claims")):
        try:
            content = path.read_bytes()
            first, newline, _ = content.partition(b"\n")
            if not newline and not first.endswith(b"]"):
                path.unlink()  # its writer was killed while it began
                continue
            remains = _remains(path, _head(first), content)
            if remains is not None:
                found.append(remains)
        except OSError as error:
            log.event("error", "journal_unreadable", file=str(path), reason=error.strerror)
        except BROKEN as error:
            _set_aside(path, str(error), log)
    return found


def _remains(path: Path, head: dict[str, Any], content: bytes) -> Remains | None:
    """What this file tells of the processes that it is about; None for a file of this very daemon."""
    same_boot = head["boot"] == boot_id()
    here = same_boot and head.get("pids", pid_namespace()) == pid_namespace()
    if here and head["master"] == this_process():
        return None
    remains = Remains(path, head["site"])
    if "child" not in head or not same_boot:
        return remains
    remains = remains._replace(
        token=head.get("token", ""),
        remote=head["remote"],
        elsewhere=not here,
        in_hand=_in_hand(_records(content, head["boot"], lambda _number, _error: None)),
    )
    return remains._replace(child=head["child"], pipe=head["pipe"]) if here else remains


def _in_hand(records: Iterable[Record]) -> bool:
    """Whether something that a child had claimed, or was claiming, has not ended."""
    claiming, ids = False, set[str]()
    for record in records:
        if isinstance(record, ClaimSent | ClaimAnswered | ClaimGaveNothing):
            claiming = isinstance(record, ClaimSent)
        if isinstance(record, ClaimAnswered | TakenOver):
            ids.update(item.id for item in record.items)
        elif isinstance(record, Ended):
            ids.difference_update(record.ids)
    return claiming or bool(ids)


def put_away(remains: Remains) -> Remains:
    """Rename the checkpoint of a former master, since ours will have its name. Returns the new remains."""
    if remains.path.name.startswith(SITE):
        away = remains.path.with_name(f"former-{time.time_ns()}.claims")
        return remains._replace(path=remains.path.rename(away))
    return remains


def read(path: Path, log: EventLog) -> Remembered | None:
    """All that a file of a former daemon says; None, with an error in the log, if nobody can read it."""
    try:
        content = path.read_bytes()
        head = _head(content.partition(b"\n")[0])
        if "child" not in head:
            return Remembered(_master(head), False, [], _site(head), Beginnings(None))
        records = list(_records(content, head["boot"], _teller(path, log)))
        notes = Beginnings(path.with_suffix(NOTES) if head["boot"] == boot_id() else None)
        return Remembered(_master(head), head["remote"], records, None, notes)
    except OSError as error:
        log.event("error", "journal_unreadable", file=str(path), reason=error.strerror)
    except BROKEN as error:
        _set_aside(path, str(error), log)
    return None


def read_child(path: Path, log: EventLog) -> list[Record]:
    """All that the journal of a child of this master says. Raises OSError."""
    return list(_records(path.read_bytes(), boot_id(), _teller(path, log)))


def _head(line: bytes) -> dict[str, Any]:
    """The head of a file. Raises what garbage raises."""
    mark, version, values = json.loads(line)
    if mark != MARK:
        raise ValueError("it is not a journal of claims")
    if version not in READABLE:
        raise ValueError(f"it has version {version!r:.20}, this coworker reads {VERSION}")
    head = dict(values)
    kinds = {**_HEAD, **(_OF_CHILD if "child" in head else _OF_MASTER)}
    kinds.update((name, kind) for name, kind in _LATER.items() if name in head)
    for name, kind in kinds.items():
        try:
            head[name] = kind(head[name])
        except BROKEN as error:
            raise ValueError(f"{name}: {error}" if name in head else f"{name} is missing") from error
    return head


_HEAD: dict[str, Callable[[Any], Any]] = {
    "site": checked.site,
    "boot": checked.text,
    "master": checked.process,
}
_OF_CHILD = {"child": checked.process, "pipe": checked.process, "remote": checked.truth}
_OF_MASTER = {"wall": checked.moment}
_LATER = {"pids": checked.text, "token": checked.token}  # what older files have not


def _master(head: dict[str, Any]) -> str:
    """The name of a master. The names of its claims are unique, but another master may use the same."""
    return ".".join(map(str, head["master"]))


def _set_aside(path: Path, reason: str, log: EventLog) -> None:
    aside = path.with_suffix(".set-aside")
    what = f"renamed to {aside.name}; what it says was claimed stays leased until the leases end"
    log.event("error", "journal_set_aside", file=str(path), reason=reason, what=what)
    path.replace(aside)


def _teller(path: Path, log: EventLog) -> Callable[[int, Exception], None]:
    """What logs the lines that nobody can read. They are left out: nobody went on because of them."""

    def damaged(number: int, error: Exception) -> None:
        log.event("error", "journal_damaged", file=str(path), line=number, reason=str(error)[:200])

    return damaged


def _records(content: bytes, boot: str, damaged: Callable[[int, Exception], None]) -> Iterator[Record]:
    """The records of all lines but the first. Behind the last newline there may be a torn line."""
    parser = _Parser(boot)
    for number, line in enumerate(content.split(b"\n")[1:-1], start=2):
        try:
            kind, *values = json.loads(line)
            record = parser.record(kind, values)
        except BROKEN as error:
            damaged(number, error)
            continue
        if record is not None:
            yield record


class _Parser:
    """What understands a line by those before it: an answer names neither its queue nor its clock."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._clock = _Clock(boot, 0.0)
        self._sent: QueueInfo | None = None  # a claim that has no answer yet
        self._named: set[str] = set()  # claims whose items were named

    def record(self, kind: str, values: Sequence[Any]) -> Record | None:
        """The record of a line; None for one that only brought others. Raises what garbage raises."""
        if kind == "claiming":
            info, at, wall = values
            queue = checked.queue(info)
            self._clock = _Clock(self._boot, checked.moment(wall) - checked.seconds(at))
            sent = ClaimSent(queue, self._clock.ours(at))
            self._sent = sent.queue
            return sent
        if kind == "took":
            return self._answered(*values)
        if kind == "nothing":
            self._sent = None
            return ClaimGaveNothing()
        if kind == "handed":
            claim, info, items, leases, wall = values
            clock = _Clock(self._boot, checked.moment(wall))
            queue, taken = checked.queue(info), checked.items(items)
            over = TakenOver(checked.text(claim), queue, taken, clock.leases(leases))
            self._named.add(over.claim)
            return over
        if kind == "idle":
            return None
        claim, ids = values
        of_items = _OF_ITEMS[kind]
        if checked.text(claim) not in self._named:
            raise ValueError(f"nothing was said of claim {claim}")
        return of_items(claim, checked.ids(ids))

    def _answered(self, claim: str, items: list[Any], lease: list[Any], begun: list[str]) -> ClaimAnswered:
        if self._sent is None:
            raise ValueError("an answer without a claim")
        (ours,) = self._clock.leases([lease])
        taken = checked.items(items)
        answered = ClaimAnswered(checked.text(claim), self._sent, taken, ours, checked.ids(begun))
        self._sent = None
        self._named.add(answered.claim)
        return answered


_OF_ITEMS: dict[str, Callable[[str, list[str]], Record]] = {
    "began": RunSent,
    "notbegun": NotBegun,
    "ended": Ended,
}


class _Clock:
    """The clock of a former daemon. `wall`: seconds from its monotonic time to its wall clock's."""

    def __init__(self, boot: str, wall: float) -> None:
        same = boot == boot_id() != ""
        self._shift = 0.0 if same else wall - (time.time() - time.monotonic())

    def ours(self, at: float) -> float:
        return float(at) + self._shift

    def leases(self, values: list[Any]) -> list[Lease]:
        """These leases in our time. A renewal under way (see Snapshot) may have begun at any time since."""
        now = time.monotonic()
        leases = []
        for at, value, *release in checked.values(values, list):
            within = checked.seconds(value)
            shown = checked.release_time(release[0] if release else None)
            if at in (None, inf):
                leases.append(Lease(now, max(0.0, now - self.ours(within)), shown))
            else:
                leases.append(Lease(self.ours(checked.seconds(at)), within, shown))
        if not leases:
            raise ValueError("a claim without a lease")
        return leases


def _site(head: dict[str, Any]) -> Snapshot:
    """The snapshot in a checkpoint, which has nothing but this head."""
    clock = _Clock(head["boot"], head["wall"])
    text, moment = checked.text, checked.seconds
    claims = [
        SavedClaim(text(claim), checked.queue(info), clock.leases(leases), checked.items(items))
        for claim, info, leases, items in head["claims"]
    ]
    lost = [
        LostIntent(checked.queue(info), clock.ours(moment(since)), clock.ours(moment(until)), text(cause))
        for info, since, until, cause in head["lost"]
    ]
    renewed = [(text(claim), clock.leases(leases)) for claim, leases in head["renewed"]]
    settling = [_settling(entry) for entry in head["settling"]]
    return Snapshot(claims, renewed, settling, lost, checked.table(head["crashes"], _crashes))


def _crashes(values: Any) -> dict[str, list[Any]]:
    """How often each item of a queue brought down its worker, and when last."""
    counted = checked.table(values, lambda entry: checked.values(entry, checked.moment))
    return {item: [int(times), at] for item, (times, at) in counted.items()}


def _settling(entry: Any) -> tuple[str, Unsettled]:
    if isinstance(entry, dict):  # of version 2
        entry = [entry["claim"], [entry[name] for name in _VERSION_2]]
    claim, part = entry
    return checked.text(claim), checked.unsettled(part)


_VERSION_2 = ("sent", "unsent", "cause", "ours", "blameless", "out_of_sight", "delay")
