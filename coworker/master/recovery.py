"""After a KILL of everything: what the journals of the former daemon say is open is settled first of all.

The former children and their pipes are ended first; then all that is open goes into the ledger of this master
(rule 10).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coworker.claims import reading
from coworker.claims.beginnings import NOTES
from coworker.claims.checkpoint import Checkpoint, LostIntent, Snapshot
from coworker.claims.reading import Remains, Remembered
from coworker.ipc import messages as m
from coworker.log import EventLog
from coworker.master.crash_counts import CrashCounts
from coworker.master.dispatch import Dispatch
from coworker.master.ledger import Place
from coworker.master.pipe_groups import SPARED, PipeGroup, PipeGroups
from coworker.model import Item, Lease, QueueInfo, Unsettled
from coworker.policy.settlement import in_running_order
from coworker.unix.marks import Marks

CAUSE = "the daemon was killed"
ELSEWHERE = "those of another pid namespace, as of another container"
SLACK = 10.0  # seconds beyond its own time-out that a claim may have taken


@dataclass
class OldClaim:
    """What the files of a former daemon tell of one claim."""

    queue: QueueInfo
    leases: list[Lease]
    items: dict[str, Item] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    noted: dict[str, bool] = field(default_factory=dict)  # whether it was begun, where its pipe took notes
    ended: set[str] = field(default_factory=set)
    settling: list[Unsettled] = field(default_factory=list)
    remote: bool = False  # what was begun may still run, where nobody sees it

    def send(self, ids: Iterable[str], begun: list[str] | None) -> None:
        """These were sent to a pipe, which noted as begun these of the claim; None: nobody can say."""
        self.sent.update(ids)
        if begun is not None:
            self.noted.update((each, each in begun) for each in ids)

    def parts(self) -> Iterator[Unsettled]:
        """The parts in which the rest of the claim is to be settled."""
        left = dict.fromkeys(each for each in self.items if each not in self.ended)
        for known in self.settling:
            part = known.without([each for each in known.ids if each not in left])
            for each in part.ids:
                del left[each]
            if part.ids:
                yield part
        noted = [each for each in left if each in self.sent and each in self.noted]
        if noted:
            begun = [each for each in noted if self.noted[each]]
            yield Unsettled(
                in_running_order(noted), [], CAUSE, begun=in_running_order(begun), out_of_sight=self.remote
            )
        sent = in_running_order([each for each in left if each in self.sent and each not in noted])
        unsent = [each for each in left if each not in self.sent]
        if sent or unsent:
            yield Unsettled(sent, unsent, CAUSE, out_of_sight=self.remote)


class OldClaims:
    """Everything that a former daemon left open, put together from files: a claim may be in several."""

    def __init__(self, files: Iterable[Remembered]) -> None:
        self.claims: dict[str, OldClaim] = {}
        self.lost: list[LostIntent] = []
        self.crash_counts = CrashCounts()
        files = list(files)
        for each in files:
            if each.site is None:
                self._of_child(each)
            else:
                self._of_master(each.master, each.site)
        for each in files:  # the claims that these are about may be in any file
            if each.site is not None:
                self._apply(each.master, each.site)

    def _of_master(self, master: str, site: Snapshot) -> None:
        for saved in site.claims:
            self._add(f"{master}.{saved.claim}", OldClaim(saved.queue, saved.leases), saved.items)
        self.lost += site.lost
        self.crash_counts = CrashCounts(site.crashes)

    def _apply(self, master: str, site: Snapshot) -> None:
        for claim, leases in site.renewed:
            if (known := self.claims.get(f"{master}.{claim}")) is not None:
                known.leases = leases
        for claim, part in site.settling:
            if (known := self.claims.get(f"{master}.{claim}")) is not None:
                known.settling.append(part)

    def _of_child(self, file: Remembered) -> None:
        sent: reading.ClaimSent | None = None
        for record in file.records:
            if isinstance(record, reading.ClaimSent):
                sent = record
            elif isinstance(record, reading.ClaimGaveNothing):
                sent = None
            else:
                sent = None if isinstance(record, reading.ClaimAnswered) else sent
                self._of_claim(f"{file.master}.{record.claim}", record, file)
        if sent is not None:
            self.lost.append(LostIntent(sent.queue, sent.at, None, CAUSE))

    def _of_claim(
        self, name: str, record: reading.ClaimAnswered | reading.TakenOver | reading.OfItems, file: Remembered
    ) -> None:
        if isinstance(record, reading.ClaimAnswered):
            known = self._add(name, OldClaim(record.queue, [record.lease]), record.items)
            known.send(record.begun, file.notes.begun(record.claim))
            known.remote = known.remote or file.remote
        elif isinstance(record, reading.TakenOver):
            known = self._add(name, OldClaim(record.queue, record.leases), record.items)
            known.remote = known.remote or file.remote
        elif name in self.claims:  # else the line that named it was damaged
            known = self.claims[name]
            if isinstance(record, m.RunSent):
                known.send(record.ids, file.notes.begun(record.claim))
            elif isinstance(record, m.NotBegun):
                known.sent.difference_update(record.ids)
            else:
                known.ended.update(record.ids)

    def _add(self, name: str, old: OldClaim, items: Iterable[Item]) -> OldClaim:
        known = self.claims.setdefault(name, old)
        known.items.update((item.id, item) for item in items)
        return known

    def reopen(self, dispatch: Dispatch, *, now: float, patience: float) -> None:
        """Have everything settled. `patience`: seconds after which a claim surely was answered or refused."""
        settler = dispatch.settler
        for number, claim in enumerate(self.claims.values(), start=1):
            items = [item for item_id, item in claim.items.items() if item_id not in claim.ended]
            if items:
                opened = dispatch.ledger.open(f"old.{number}", claim.queue, 0, items, (), claim.leases)
                for part in claim.parts():
                    settler.settle(opened, Place.AT_WORKER, part, recovered=True)
        for old in self.lost:
            until = old.until or max(old.since, min(now, old.since + patience))
            settler.lose(old.queue, old.since, until, old.cause, recovered=True)
        settler.crash_counts = self.crash_counts
        settler.crash_counts.changed = True


@dataclass(slots=True)
class Recovery:
    """The recovery of what a former daemon left of one site, through the ledger of its dispatch."""

    dispatch: Dispatch
    checkpoint: Checkpoint
    pipe_groups: PipeGroups
    log: EventLog
    _remains: list[Remains] = field(default_factory=list)  # to be read when their writers are gone
    _unseen: set[Path] = field(default_factory=set)  # those of them whose pipes may run on, out of our sight

    @property
    def active(self) -> bool:
        """Whether the recovery still forbids to claim."""
        waiting = self._remains and any(not group.given_up for group in self.pipe_groups.groups)
        return bool(waiting) or self.dispatch.settler.settlements.recovering()

    def begin(self, remains: Sequence[Remains], now: float) -> None:
        """KILL the former children and their pipes, as far as they prove to be ours."""
        self._remains = [reading.put_away(each) for each in remains]
        for each in self._remains:
            log = self.log.bind(role="former", pid=each.child.pid if each.child is not None else None)
            if each.elsewhere and each.in_hand:
                log.event("warning", "process_spared", processes=ELSEWHERE, what=SPARED)
            marks = Marks(each.pipe, each.token, everywhere=each.in_hand and not each.remote)
            on_gone = partial(self._on_gone, each)
            self.pipe_groups.add(PipeGroup(marks, now, on_gone, log, each.child, former=True), now)

    def _on_gone(self, of: Remains, now: float, unseen: bool) -> None:
        """Read the journals and reopen their claims, once the last of the former children is gone."""
        if unseen or of.elsewhere:
            self._unseen.add(of.path)
        if not self._remains or any(group.former for group in self.pipe_groups.groups):
            return
        paths = [each.path for each in self._remains]
        self._remains = []
        files = [file for path in paths if (file := self._read(path)) is not None]
        old = OldClaims(files)
        patience = self.dispatch.settings.workers.boot_timeout + SLACK
        old.reopen(self.dispatch, now=now, patience=patience)
        self.checkpoint.supersede(*paths, *(path.with_suffix(NOTES) for path in paths))
        items = sum(len(claim.entries) for claim in self.dispatch.ledger.claims.values())
        if items or old.lost:
            lost = len(old.lost) or None
            self.log.event("warning", "recovering", items=items, claims_unanswered=lost, reason=CAUSE)

    def _read(self, path: Path) -> Remembered | None:
        file = reading.read(path, self.log)
        if file is not None and path in self._unseen:
            return file._replace(remote=True)
        return file


def recover(
    directory: Path, recoveries: Mapping[str, Recovery], known: Collection[str], log: EventLog
) -> None:
    """Give these sites what a former daemon left of them; name what belongs to none of those `known`."""
    remains = reading.scan(directory, log)
    for name, recovery in recoveries.items():
        recovery.begin([each for each in remains if each.site == name], time.monotonic())
    for each in remains:
        if each.site not in known:
            what = "what it had claimed stays leased until the leases end, or the site is back"
            log.event("warning", "claims_of_no_site", site=each.site, file=str(each.path), what=what)
