"""The end of a child: what it left unsaid is heard, its pipe is killed, what it had in hand is settled."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from coworker.claims import reading
from coworker.claims.beginnings import Beginnings, beginnings_file
from coworker.claims.checkpoint import Checkpoint
from coworker.claims.journal import child_file
from coworker.errors import IllegalMoveError
from coworker.ipc import messages as m
from coworker.ipc.packing import pack
from coworker.master.control_orders import ControlOrders
from coworker.master.dispatch import Dispatch
from coworker.master.ledger import Ledger
from coworker.master.pipe_groups import PipeGroup, PipeGroups
from coworker.master.staff import Staff
from coworker.model import ExitStatus, MasterPhase, RetireReason, Role, Unsettled, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy.backoff import PROBE_CAP
from coworker.unix.marks import Marks
from coworker.unix.memory import OomWatch
from coworker.unix.proc import Process

BY_ITSELF = (RetireReason.DIED, RetireReason.PROTOCOL, RetireReason.MEMORY)  # nobody else ended the pipe
ROUNDED = 1e-5  # seconds, above the error of times with six decimals
Unsaid = m.Claiming | m.NotClaimed | m.Claimed | m.RunSent | m.NotBegun | m.Ended


@dataclass(slots=True)
class Departures:
    """The end of each child of one site. `claims` is the directory of their journals."""

    claims: Path
    staff: Staff
    dispatch: Dispatch
    orders: ControlOrders
    pipe_groups: PipeGroups
    checkpoint: Checkpoint
    phase: Callable[[], MasterPhase]
    oom: OomWatch = field(default_factory=OomWatch)

    def hear_unsaid(
        self, record: WorkerRecord, hear: Callable[[WorkerRecord, m.Report, float], object], now: float
    ) -> None:
        """Hear from its journal, which is written first, what a dead child had no time to say (rule 10)."""
        if record.life.said_bye:
            return
        path = child_file(self.claims, record.life.pid, record.id)
        try:
            for report in unsaid(reading.read_child(path, record.life.log), record):
                if (still := without_gone(report, record, self.dispatch.ledger)) is not None:
                    hear(record, still, now)
        except FileNotFoundError:
            return  # the child died before it had a journal
        except (OSError, IllegalMoveError) as error:
            record.life.log.event("error", "journal_unreadable", file=str(path), reason=str(error))

    def gone(self, record: WorkerRecord, status: ExitStatus, now: float) -> str:
        """Note that the child has exited. Returns why, for the log."""
        life, expected = record.life, record.life.state is S.RETIRING
        booting = life.state is S.BOOTING
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
            # Without a pause one pipe after the other would be lost to a database that takes no claims; but a
            # site may be well again soon, so the pause is as short as between probes.
            self.dispatch.queues.claim_failed(record.work.claiming, cause, now, cap=PROBE_CAP)
        # Whatever it was leaving for, if the stop ended its pipe, it was not the fault of the task that ran.
        halting = self.phase() is MasterPhase.HALTING
        stopped_by_us = halting and not life.last_words and life.retire_reason is not RetireReason.TIMEOUT
        on_gone = partial(self._settle, record, cause, stopped_by_us)
        self.pipe_groups.add(PipeGroup(self._marks(record, booting=booting), now, on_gone, life.log), now)
        return cause

    def _marks(self, record: WorkerRecord, *, booting: bool) -> Marks:
        """Tell by what the processes of its pipe are known. At an ordinary end only its group is ended.

        A child that has said bye has seen to all the rest itself, but for what it could not kill.
        """
        life, work = record.life, record.work
        in_hand = booting or work.claiming is not None or self.dispatch.ledger.at_worker(record.id)
        leader = Process(life.pipe_group, life.pipe_start)
        ended = life.said_bye and not life.pipe_survives
        everywhere = bool(in_hand) and not record.remote and not ended
        return Marks(leader, record.token, everywhere=everywhere, below=os.getpid())

    def _settle(
        self, record: WorkerRecord, cause: str, stopped_by_us: bool, now: float, unseen: bool
    ) -> None:
        """Have settled what the child had in hand: nothing of its pipe runs any more, unless `unseen`."""
        lost_by = record.life.lost_by
        signalled = lost_by is RetireReason.SIGNAL
        # Whoever stops a daemon may signal all of its processes, and we may hear of a pipe's end first.
        at_stop = (signalled and self.phase().ends) or (
            lost_by in (RetireReason.DIED, RetireReason.KILLED) and record.life.lost_at_stop
        )
        end = Unsettled(
            [], [], cause, stopped_by_us=stopped_by_us or at_stop, signalled=signalled,
            blameless=record.life.retire_reason is RetireReason.DATABASE,
            by_itself=lost_by in BY_ITSELF, out_of_sight=unseen or record.life.pipe_survives,
        )  # fmt: skip
        noted = beginnings_file(self.claims, record.life.pid, record.id)
        self.dispatch.lost(record, end, Beginnings(noted).begun, now)
        self.checkpoint.supersede(child_file(self.claims, record.life.pid, record.id), noted)


def unsaid(records: Iterable[reading.Record], worker: WorkerRecord) -> list[Unsaid]:
    """The reports that a child's records stand for, beyond those that were heard of it, in order.

    A child says some things in passing, up to a moment later (`link.PASSING`), but notes them before.
    """
    said: list[Unsaid] = []
    sent: reading.ClaimSent | None = None
    queue = ""
    for record in records:
        if isinstance(record, reading.ClaimSent):
            sent, queue = record, record.queue.name
        elif isinstance(record, reading.ClaimAnswered):
            sent = None
            number = record.claim.partition(".")[2]
            if number.isdecimal() and int(number) > worker.work.claims:
                said.append(m.Claimed(record.claim, queue, pack(record.items), *record.lease))
        elif isinstance(record, reading.ClaimGaveNothing):
            sent = None
        elif not isinstance(record, reading.TakenOver):
            said.append(record)
    if sent is not None and sent.at > worker.work.claiming_at + ROUNDED:
        said.append(m.Claiming(queue, sent.at))
    elif sent is None and queue and worker.work.claiming is not None:
        said.append(m.NotClaimed(queue))
    return said


def without_gone(report: Unsaid, worker: WorkerRecord, ledger: Ledger) -> Unsaid | None:
    """The report without items that the worker, as far as was heard, has no more; None if it is void."""
    if not isinstance(report, m.RunSent | m.NotBegun):
        return report
    claim = ledger.claims.get(report.claim)
    if claim is None:
        return None
    mine = {entry.item.id for entry in claim.at_worker(worker.id)}
    return report._replace(ids=[each for each in report.ids if each in mine])
