"""The register of a site's children: who they are and where each is in its life. It makes no system calls.

Nothing else writes a `Lifecycle`. `move` refuses moves that make no sense.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from coworker.errors import IllegalMoveError
from coworker.log import EventLog
from coworker.model import RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S

MOVES: dict[S, tuple[S, ...]] = {
    S.BOOTING: (S.READY, S.RETIRING, S.GONE),
    S.READY: (S.BUSY, S.RETIRING, S.GONE),
    S.BUSY: (S.READY, S.RETIRING, S.GONE),
    S.RETIRING: (S.GONE,),
    S.GONE: (),
}


class Roster:
    """The children of one site, by id, and what they said of it. `log` is the site's."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._records: dict[int, WorkerRecord] = {}
        self.home_domain: int | None = None  # that the site's own pipe serves, once one has said so
        self.gives_back = True  # whether control has what it needs to inspect rows and to give them back

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def get(self, record_id: int) -> WorkerRecord | None:
        return self._records.get(record_id)

    def of(self, role: Role) -> list[WorkerRecord]:
        return [record for record in self._records.values() if record.role is role]

    def workers(self) -> list[WorkerRecord]:
        """The workers, without canaries, which only test new settings."""
        return [record for record in self.of(Role.WORKER) if not record.life.canary]

    def controls(self) -> list[WorkerRecord]:
        """The controls, without canaries."""
        return [record for record in self.of(Role.CONTROL) if not record.life.canary]

    def control(self) -> WorkerRecord | None:
        """The control that takes orders: the newest, while another is on its way out."""
        ready = [record for record in self.controls() if record.life.state is S.READY]
        return ready[-1] if ready else None

    def free_slot(self, role: Role) -> int:
        """The lowest number that no worker has; 0 for control."""
        if role is Role.CONTROL:
            return 0
        taken = {record.slot for record in self.of(role)}
        return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)

    def add(self, record: WorkerRecord, pid: int) -> None:
        """Enter a child that was forked. From now on its log says who it is."""
        if record.id in self._records:
            raise IllegalMoveError(f"child {record.id} is there already")
        who = {"worker": record.slot} if record.role is Role.WORKER else {"role": record.role.value}
        record.life.pid = pid
        record.life.log = self._log.bind(**who, pid=pid)
        self._records[record.id] = record

    def move(self, record: WorkerRecord, state: S, reason: RetireReason | None = None) -> None:
        """Set the state; RETIRING keeps the first reason. Raises IllegalMoveError. GONE drops the record."""
        life = record.life
        if state not in MOVES[life.state]:
            raise IllegalMoveError(f"child {record.id} cannot go from {life.state.value} to {state.value}")
        if state is S.RETIRING and reason is None:
            raise IllegalMoveError(f"child {record.id} cannot retire without a reason")
        life.state = state
        if reason is not None and life.retire_reason is None:
            life.retire_reason = reason
        if state is S.GONE:
            del self._records[record.id]

    def rest(self, record: WorkerRecord, now: float) -> None:
        """Note that the child has nothing to do: it is READY, unless it is leaving."""
        if record.life.state in (S.BOOTING, S.BUSY):
            self.move(record, S.READY)
        record.life.idle_since = now

    def pipe_started(self, record: WorkerRecord, group: int, start: int) -> None:
        """Note that the child's pipe leads this process group since `start`."""
        record.life.pipe_group, record.life.pipe_start = group, start

    def pipe_ready(self, record: WorkerRecord, domain: int | None, *, notes: bool) -> None:
        """Note the domain that the child's pipe serves (None if it does not say), and if it takes notes."""
        record.life.domain, record.life.notes = domain, notes
        if record.boot_domain is None:
            self.home_domain = domain

    def expire(self, record: WorkerRecord, reason: RetireReason) -> None:
        """Have the child replaced by a successor, whatever its limits say. The first reason stays."""
        record.life.expired = record.life.expired or reason

    def shorten(self, record: WorkerRecord, max_age: float) -> None:
        """Lower the age that the child may reach, to `max_age` (seconds)."""
        record.life.max_age = min(record.life.max_age or inf, max_age)

    def enlist_canaries(self, generation: int) -> None:
        """Make the canaries workers, the first of this generation: what they tested is in force.

        One that tried control's way only leaves: it said hello and left before anybody asked it for anything.
        """
        for record in self.of(Role.WORKER):
            if record.life.canary:
                record.life.canary = False
                record.life.generation = generation

    def pipe_lost(self, record: WorkerRecord, cause: RetireReason, words: str, *, stopping: bool) -> None:
        """Note that the child's pipe is lost, and why."""
        record.life.lost_by, record.life.last_words = cause, words
        record.life.lost_at_stop = stopping

    def said_bye(self, record: WorkerRecord, *, pipe_survives: bool) -> None:
        """Note that the child has said all, and whether something of its pipe could not be ended."""
        record.life.said_bye, record.life.pipe_survives = True, pipe_survives
