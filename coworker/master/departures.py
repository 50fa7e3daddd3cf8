"""The end of a child: what it left unsaid is heard, its pipe is killed, what it had in hand is settled."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coworker.claims.checkpoint import Checkpoint
from coworker.claims.journal import child_file
from coworker.claims.reading import read_child
from coworker.errors import IllegalMoveError
from coworker.ipc.messages import Report
from coworker.master.control_orders import ControlOrders
from coworker.master.dispatch import Dispatch
from coworker.master.pipe_groups import PipeGroup, PipeGroups
from coworker.master.recovery import held, unsaid
from coworker.master.staff import Staff
from coworker.model import ExitStatus, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy.backoff import PROBE_CAP
from coworker.unix.memory import OomWatch


@dataclass(slots=True)
class Departures:
    """The end of each child of one site. `claims` is the directory of their journals."""

    claims: Path
    staff: Staff
    dispatch: Dispatch
    orders: ControlOrders
    pipe_groups: PipeGroups
    checkpoint: Checkpoint
    oom: OomWatch = field(default_factory=OomWatch)

    def hear_unsaid(
        self, record: WorkerRecord, hear: Callable[[WorkerRecord, Report, float], object], now: float
    ) -> None:
        """Hear from its journal, which is written first, what a dead child had no time to say (rule 10)."""
        if record.life.said_bye:
            return
        path = child_file(self.claims, record.life.pid, record.id)
        try:
            for report in unsaid(read_child(path, record.life.log), record):
                if (still := held(report, record, self.dispatch.ledger)) is not None:
                    hear(record, still, now)
        except FileNotFoundError:
            return  # the child died before it had a journal
        except (OSError, IllegalMoveError) as error:
            record.life.log.event("error", "journal_unreadable", file=str(path), reason=str(error))

    def gone(self, record: WorkerRecord, status: ExitStatus, now: float, *, halting: bool) -> str:
        """Note that the child has exited. Returns why, for the log. `halting`: the stop is ending pipes."""
        life, expected = record.life, record.life.state is S.RETIRING
        reason = life.retire_reason.value if life.retire_reason else "crashed"
        self.staff.gone(record, status, now)
        routine = record.role is Role.CONTROL and life.retire_reason is RetireReason.MAX_AGE
        level = "error" if not expected else "debug" if routine else "info"
        done = record.work.done if record.role is Role.WORKER else None
        life.log.event(level, "gone", reason=reason, status=str(status), done=done)
        if record.role is Role.CONTROL:
            self.orders.control_gone(record.id, now)
        self.orders.barrier.said_all(record)
        cause = life.last_words or f"{reason}, {status}"
        if self.oom.has_killed() and status.signal == signal.SIGKILL:
            cause = "the worker was killed by the kernel, which had no memory left"
        if record.work.claiming is not None:
            life.log.event("error", "claim_unanswered", queue=record.work.claiming, reason=cause)
            # Without a pause one pipe after the other would be lost to a database that takes no claims.
            self.dispatch.queues.claim_failed(record.work.claiming, cause, now, cap=PROBE_CAP)
        # Whatever it was leaving for, if the stop ended its pipe, it was not the fault of the task that ran.
        stopped_by_us = halting and not life.last_words and life.retire_reason is not RetireReason.TIMEOUT
        on_empty = partial(self._settle, record, cause, stopped_by_us)
        self.pipe_groups.add(PipeGroup(life.pipe_group, now, on_empty, life.log), now)
        return cause

    def _settle(self, record: WorkerRecord, cause: str, stopped_by_us: bool, now: float) -> None:
        """Have settled what the child had in hand: nothing of its pipe runs any more."""
        blameless = record.life.retire_reason is RetireReason.DATABASE
        self.dispatch.lost(record, cause, now, stopped_by_us=stopped_by_us, blameless=blameless)
        self.checkpoint.supersede(child_file(self.claims, record.life.pid, record.id))
