"""The register of children: who they are and where each is. No system calls.

`move` is the only way to change a state, and it refuses moves that make no sense.
"""

from __future__ import annotations

from collections.abc import Iterator

from coworker.errors import IllegalMoveError
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
    """The children of one site, by id."""

    def __init__(self) -> None:
        self._records: dict[int, WorkerRecord] = {}

    def __iter__(self) -> Iterator[WorkerRecord]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: WorkerRecord) -> None:
        if record.id in self._records:
            raise IllegalMoveError(f"child {record.id} is there already")
        self._records[record.id] = record

    def get(self, record_id: int) -> WorkerRecord | None:
        return self._records.get(record_id)

    def of(self, role: Role) -> list[WorkerRecord]:
        return [record for record in self._records.values() if record.role is role]

    def move(self, record: WorkerRecord, state: S, reason: RetireReason | None = None) -> None:
        """Set the state; RETIRING keeps the first reason. Raises IllegalMoveError. GONE drops the record."""
        if state not in MOVES[record.state]:
            raise IllegalMoveError(f"child {record.id} cannot go from {record.state.value} to {state.value}")
        if state is S.RETIRING and reason is None:
            raise IllegalMoveError(f"child {record.id} cannot retire without a reason")
        record.state = state
        if reason is not None and record.retire_reason is None:
            record.retire_reason = reason
        if state is S.GONE:
            del self._records[record.id]

    def free_slot(self, role: Role) -> int:
        """The lowest number that no worker carries; control has 0."""
        if role is Role.CONTROL:
            return 0
        taken = {record.slot for record in self.of(role)}
        return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)
