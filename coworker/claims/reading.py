"""After a KILL: what the journals of former children, and the file of a former master, say is still open."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from coworker.claims.checkpoint import SITE, leases_of
from coworker.claims.journal import MARK, VERSION
from coworker.ipc.messages import unpack
from coworker.master.crash_counts import CrashCounts
from coworker.model import Item, Lease, QueueInfo
from coworker.unix.proc import Process, boot_id, this_process

Log = Callable[..., None]
BROKEN = (ValueError, TypeError, KeyError, IndexError, AttributeError)  # what reading garbage may raise
CAUSE = "the daemon was killed"


class Remains(NamedTuple):
    """One file that a former daemon left. `child` and `pipe`: who must be gone before it is read."""

    path: Path
    site: str
    child: Process | None
    pipe: Process | None


@dataclass
class OldClaim:
    """What is known of one claim."""

    queue: QueueInfo
    leases: list[Lease]
    items: dict[str, Item] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    settling: list[dict[str, Any]] = field(default_factory=list)
    remote: bool = False  # what was begun may still run, where nobody sees it


class OldIntent(NamedTuple):
    """A claim that was sent at `since` (monotonic seconds) and whose answer nobody noted."""

    queue: QueueInfo
    since: float
    until: float | None
    cause: str


@dataclass
class Recovered:
    """All that is open, by the names that the old claims had."""

    claims: dict[str, OldClaim] = field(default_factory=dict)
    lost: list[OldIntent] = field(default_factory=list)
    crash_counts: CrashCounts = field(default_factory=CrashCounts)


def scan(directory: Path, log: Log) -> list[Remains]:
    """Every file that a former daemon left there. Those that nobody can read are set aside, and named."""
    found = []
    for path in directory.glob("*.new"):
        path.unlink()  # a former master was killed while it wrote it
    for path in sorted(directory.glob("*.claims")):
        try:
            with path.open("rb") as stream:
                first = stream.readline()
            if not first.endswith((b"\n", b"]")):
                path.unlink()  # its writer was killed while it began
                continue
            mark, version, head = json.loads(first)
            if mark != MARK:
                raise ValueError("it is no journal of claims")
            if version != VERSION:
                raise ValueError(f"it has version {version!r}, this coworker reads {VERSION}")
            if Process(*head["master"]) == this_process():
                continue
            here = head["boot"] == boot_id()
            who = [Process(*head[name]) if here and name in head else None for name in ("child", "pipe")]
            found.append(Remains(path, str(head["site"]), *who))
        except OSError as error:
            log("error", "journal_unreadable", file=str(path), reason=error.strerror)
        except BROKEN as error:
            _set_aside(path, str(error), log)
    return found


def _set_aside(path: Path, reason: str, log: Log) -> None:
    aside = path.with_suffix(".set-aside")
    what = f"renamed to {aside.name}; what it says was claimed stays leased until the leases end"
    log("error", "journal_set_aside", file=str(path), reason=reason, what=what)
    path.replace(aside)


def put_away(remains: Remains) -> Remains:
    """The file of a former master gets another name: its own will be that of ours."""
    if remains.path.name.startswith(SITE):
        away = remains.path.with_name(f"former-{time.time_ns()}.claims")
        return remains._replace(path=remains.path.rename(away))
    return remains


def read(paths: Iterable[Path], log: Log) -> Recovered:
    """What these files of one site say is open. Times are in our clock."""
    reader = _Reader(log)
    for path in paths:
        try:
            reader.file(path)
        except OSError as error:
            log("error", "journal_unreadable", file=str(path), reason=error.strerror)
        except BROKEN as error:
            _set_aside(path, str(error), log)
    return reader.result()


class _Reader:
    """Puts the files together: a claim may be in several."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._recovered = Recovered()
        self._renewed: list[tuple[str, list[Lease]]] = []
        self._settling: list[tuple[str, dict[str, Any]]] = []

    def file(self, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        head = json.loads(lines[0])[2]
        if "child" not in head:
            self._site(head)
            return
        child = _Child(head, self._recovered)
        for number, line in enumerate(
            lines[1:-1], start=2
        ):  # behind the last newline: nothing, or a torn line
            try:
                child.line(*json.loads(line))
            except BROKEN as error:
                self._log("error", "journal_damaged", file=str(path), line=number, reason=str(error)[:200])
        if child.intent is not None:
            self._recovered.lost.append(child.intent)

    def _site(self, head: dict[str, Any]) -> None:
        """The file of a former master."""
        clock = _Clock(head["boot"], head["wall"])
        key = _key(head)
        for claim, info, leases, items in head["claims"]:
            old = self._recovered.claims.setdefault(
                f"{key}.{claim}", OldClaim(QueueInfo(*info), clock.leases(leases))
            )
            old.items.update((item.id, item) for item in unpack(items))
        self._renewed += [(f"{key}.{claim}", clock.leases(leases)) for claim, leases in head["renewed"]]
        self._settling += [(f"{key}.{entry['claim']}", _settlement(entry)) for entry in head["settling"]]
        self._recovered.lost += [
            OldIntent(QueueInfo(*info), clock.ours(since), clock.ours(until), str(cause))
            for info, since, until, cause in head["lost"]
        ]
        self._recovered.crash_counts = CrashCounts(head["crashes"])

    def result(self) -> Recovered:
        claims = self._recovered.claims
        for claim, leases in self._renewed:
            if claim in claims:
                claims[claim].leases = leases
        for claim, entry in self._settling:
            if claim in claims:
                claims[claim].settling.append(entry)
        return self._recovered


class _Clock:
    """Times of a former daemon, in ours. `wall`: what its wall clock was ahead of its monotonic one."""

    def __init__(self, boot: str, wall: float) -> None:
        same = boot == boot_id() != ""
        self._shift = 0.0 if same else wall - (time.time() - time.monotonic())

    def ours(self, at: float) -> float:
        return at + self._shift

    def leases(self, values: list[Any]) -> list[Lease]:
        theirs = leases_of(values, time.monotonic() - self._shift)
        return [Lease(self.ours(at), seconds) for at, seconds in theirs]


class _Child:
    """Replays the journal of one child."""

    def __init__(self, head: dict[str, Any], recovered: Recovered) -> None:
        self._boot, self._key, self._remote = head["boot"], _key(head), bool(head["remote"])
        self._claims = recovered.claims
        self._clock = _Clock(self._boot, 0.0)
        self.intent: OldIntent | None = None

    def line(self, kind: str, *values: Any) -> None:
        """Raises what garbage raises."""
        self._kinds[kind](self, *values)

    def _claiming(self, info: list[Any], at: float, wall: float) -> None:
        self._clock = _Clock(self._boot, wall - at)
        self.intent = OldIntent(QueueInfo(*info), self._clock.ours(at), None, CAUSE)

    def _took(self, claim: str, items: list[Any], lease: list[Any], begun: list[str]) -> None:
        if self.intent is None:
            raise ValueError("an answer to no claim")
        old = OldClaim(self.intent.queue, self._clock.leases([lease]))
        self._add(claim, old, items).begun.update(begun)
        self.intent = None

    def _handed(self, claim: str, info: list[Any], items: list[Any], leases: list[Any], wall: float) -> None:
        self._add(claim, OldClaim(QueueInfo(*info), _Clock(self._boot, wall).leases(leases)), items)

    def _add(self, claim: str, old: OldClaim, items: list[Any]) -> OldClaim:
        known = self._claims.setdefault(f"{self._key}.{claim}", old)
        known.items.update((item.id, item) for item in unpack(items))
        known.remote = known.remote or self._remote
        return known

    def _began(self, claim: str, ids: list[str]) -> None:
        self._claims[f"{self._key}.{claim}"].begun.update(ids)

    def _not_begun(self, claim: str, ids: list[str]) -> None:
        self._claims[f"{self._key}.{claim}"].begun.difference_update(ids)

    def _ended(self, claim: str, ids: list[str]) -> None:
        self._claims[f"{self._key}.{claim}"].ended.update(ids)

    def _nothing(self) -> None:
        self.intent = None

    def _idle(self) -> None:
        """It only brought the lines before it."""

    _kinds: ClassVar[dict[str, Callable[..., None]]] = {
        "claiming": _claiming,
        "took": _took,
        "nothing": _nothing,
        "handed": _handed,
        "began": _began,
        "notbegun": _not_begun,
        "ended": _ended,
        "idle": _idle,
    }


def _key(head: dict[str, Any]) -> str:
    """Claims of one master have one name each; those of two may have the same."""
    return ".".join(map(str, head["master"]))


def _settlement(entry: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Settlement as they were written."""
    return {
        "sent": [str(each) for each in entry["sent"]],
        "unsent": [str(each) for each in entry["unsent"]],
        "stopped_by_us": bool(entry["ours"]),
        "delay": int(entry["delay"]),
        "blameless": bool(entry["blameless"]),
        "out_of_sight": bool(entry["out_of_sight"]),
        "cause": str(entry["cause"]),
    }
