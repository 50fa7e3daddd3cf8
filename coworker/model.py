"""The nouns. Read this first: everything else passes these values around.

An *item* is a row of `civicrm_queue_item`. A worker *claims* items (CiviCRM leases them to it), runs
them under an *identity*, and each ends in an *outcome*. A *record* is what the master knows of a child.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any, NamedTuple

from coworker.errors import IllegalMoveError
from coworker.log import SILENCE, EventLog


class Identity(NamedTuple):
    """Whom a task runs as: a contact in a domain; without a contact it is the system (identity rules)."""

    contact: int | None = None
    domain: int | None = None

    @classmethod
    def from_run_as(cls, run_as: Any) -> Identity:
        """Normalise `run_as` of claimItems: null, missing keys and numeric strings occur.

        Raises ValueError for a contact that is not a number: such an item cannot be run as anybody.
        """
        if not isinstance(run_as, dict):
            return SYSTEM
        contact, domain = run_as.get("contactId"), run_as.get("domainId")
        return cls(
            int(contact) if contact not in (None, "", 0, "0") else None,
            int(domain) if domain not in (None, "") else None,
        )

    def __str__(self) -> str:
        who = "system" if self.contact is None else f"contact {self.contact}"
        return who + (f", domain {self.domain}" if self.domain is not None else "")


SYSTEM = Identity()


class Item(NamedTuple):
    """A claimed row. `id` is kept as a string: claimItems gives strings, QueueItem.get integers."""

    id: str
    identity: Identity = SYSTEM


class Outcome(str, Enum):
    """How an item ended (contract A3). UNKNOWN: no outcome was named, or one that we do not know."""

    OK = "ok"
    RETRY = "retry"
    DELETE = "delete"
    ABORT = "abort"
    RELINQUISH = "relinquish"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, text: Any) -> Outcome:
        return _OUTCOMES.get(text, cls.UNKNOWN) if isinstance(text, str) else cls.UNKNOWN


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}  # calling Outcome takes twenty times as long


class Role(str, Enum):
    """What a child is for: control looks and settles, a worker claims and runs."""

    CONTROL = "control"
    WORKER = "worker"


class WorkerState(str, Enum):
    """Where a child is. Why it leaves is `RetireReason`."""

    BOOTING = "booting"
    READY = "ready"
    BUSY = "busy"
    RETIRING = "retiring"
    GONE = "gone"


class RetireReason(str, Enum):
    """Why a child leaves."""

    MAX_REQUESTS = "max_requests"
    MAX_AGE = "max_age"
    MAX_MEMORY = "max_memory"
    IDLE = "idle"
    IDENTITY = "identity"
    RELOAD = "reload"
    SURPLUS = "surplus"
    PROTOCOL = "protocol"
    DATABASE = "database"
    MEMORY = "memory"
    DIED = "died"
    KILLED = "killed"
    NOT_NOTED = "not_noted"
    LEFT_BEHIND = "left_behind"
    SIGNAL = "signal"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"


class MasterPhase(str, Enum):
    """What the master, or one of its sites, is doing. HALTING: pipes are being ended at once."""

    RUNNING = "running"
    QUIET = "quiet"
    STOPPING = "stopping"
    HALTING = "halting"

    @property
    def ends(self) -> bool:
        """Whether this phase can only end in the end of the process, or of the site."""
        return self in (MasterPhase.STOPPING, MasterPhase.HALTING)

    def to(self, phase: MasterPhase) -> MasterPhase:
        """The next phase, if it can follow this one; to stay is always possible. Raises IllegalMoveError."""
        if phase is not self and phase not in _PHASES[self]:
            raise IllegalMoveError(f"the phase cannot go from {self.value} to {phase.value}")
        return phase


_PHASES = {
    MasterPhase.RUNNING: (MasterPhase.QUIET, MasterPhase.STOPPING, MasterPhase.HALTING),
    MasterPhase.QUIET: (MasterPhase.RUNNING, MasterPhase.STOPPING, MasterPhase.HALTING),
    MasterPhase.STOPPING: (MasterPhase.HALTING,),
    MasterPhase.HALTING: (),
}


class ExitStatus(NamedTuple):
    """How a process ended: by `code` or by `signal`; neither is set if nobody saw it."""

    code: int | None = None
    signal: int | None = None

    @classmethod
    def from_returncode(cls, returncode: int | None) -> ExitStatus:
        """The status of `Popen.returncode` or `os.waitstatus_to_exitcode`: a negative number is a signal."""
        if returncode is None:
            return cls()
        return cls(signal=-returncode) if returncode < 0 else cls(code=returncode)

    def __str__(self) -> str:
        if self.signal is not None:
            try:
                return f"signal {self.signal} ({signal.Signals(self.signal).name})"
            except ValueError:
                return f"signal {self.signal}"
        return f"exit status {self.code}" if self.code is not None else "unknown exit"


class QueueInfo(NamedTuple):
    """What `Queue.get` says of a queue with work, as far as the daemon cares. Times are in seconds."""

    name: str
    type: str = "SqlParallel"
    batch_limit: int = 1
    lease_time: int = 3600
    retry_limit: int = 0
    retry_interval: int = 0
    error: str | None = None
    runner: str = "task"

    @property
    def linear(self) -> bool:
        """Whether it is of type `Sql`, which gives only its head item: one worker at a time (contract A4)."""
        return self.type == "Sql"


class Lease(NamedTuple):
    """A lease of ours, which began within the `seconds` before `at` (monotonic seconds).

    All processes of a machine have this clock, so another than the one that claimed may judge it. `release`
    is the release_time that its rows show, in the site's clock; None until it is known, "" if it cannot be.
    """

    at: float
    seconds: float = 0.0
    release: str | None = None


class Unsettled(NamedTuple):
    """Items of one claim whose end nobody knows: what the master, its checkpoint and control say of them.

    `sent` are the ids of the last runItems, in running order, whose answer is missing; `unsent` were never
    sent. `stopped_by_us`: we ended the process, at a stop; then what was begun is given back, too.
    `blameless`: whatever ended it, it was not the task. `out_of_sight`: what was begun may run on where we
    cannot see it (rule 9). `delay`: seconds until what is given back may be claimed again. If one of the
    `poisoned` was begun, it is not to be called again. `signalled`: the pipe died of a signal that was hardly
    meant for the task; then what was begun is given back, too, unless it is one of the `unspared` (rule 5).
    `begun` are those of the sent that the pipe had noted as begun, in order; None: nobody can say (rule 4).
    `by_itself`: nobody else ended the pipe, so if none was begun, the first one sent may have ended it.
    `cause` is for the log.
    """

    sent: list[str]
    unsent: list[str]
    cause: str = ""
    stopped_by_us: bool = False
    blameless: bool = False
    out_of_sight: bool = False
    delay: int = 0
    poisoned: list[str] = []  # noqa: RUF012 - it is never changed
    signalled: bool = False
    unspared: list[str] = []  # noqa: RUF012
    begun: list[str] | None = None
    by_itself: bool = False

    @property
    def ids(self) -> list[str]:
        """The ids of all the items."""
        return [*self.sent, *self.unsent]

    def without(self, ids: Collection[str]) -> Unsettled:
        """The same without these ids; what is known of the beginnings stays as it is."""
        return self._replace(
            sent=[each for each in self.sent if each not in ids],
            unsent=[each for each in self.unsent if each not in ids],
        )


@dataclass(slots=True)
class Lifecycle:
    """Where a child is in its life. Written by `Roster` alone. Times are monotonic seconds."""

    generation: int
    max_age: float  # seconds, drawn when it is made, with jitter; 0: no limit. Control's may be shortened
    idle_since: float
    pid: int = 0
    pipe_group: int = 0  # process group of its pipe, 0 until it is known
    pipe_start: int = 0  # when the leader of that group was started (see unix.proc.Process)
    domain: int | None = None  # the one that its pipe serves, as far as is known
    notes: bool = False  # whether its pipe notes what it begins (rule 4)
    state: WorkerState = WorkerState.BOOTING
    retire_reason: RetireReason | None = None
    expired: RetireReason | None = None  # a successor is to replace it, whatever its limits say
    canary: bool = False  # boots with settings that are not in force yet
    lost_by: RetireReason | None = None  # what its pipe was lost to, whatever it left for
    lost_at_stop: bool = False  # whether it was lost while the site was stopping
    last_words: str = ""  # why its pipe was lost
    said_bye: bool = False  # then it had said all
    pipe_survives: bool = False  # something of its pipe could not be ended
    log: EventLog = SILENCE  # its lines say which child it is


@dataclass(slots=True)
class Assignment:
    """What a child works on. Written by `Dispatch` alone."""

    identity: Identity | None = None  # None: not bound yet
    promised: Identity | None = None  # the identity of handed items that it was sent while it was unbound
    queue: str | None = None  # what it works on while BUSY
    last_queue: str | None = None
    claiming: str | None = None  # the queue of a claim that was sent and not answered
    claiming_at: float = 0.0  # when it was sent (monotonic seconds)
    claims: int = 0  # how many of its claims brought items, as far as it has said
    done: int = 0  # items that ended in it; of control, looks


@dataclass(slots=True)
class Timing:
    """When a child must have done what it does. Written by `Deadlines` alone. Times are monotonic seconds."""

    progress_at: float = 0.0  # its last report about work
    running: str | None = None  # the claim that it runs items of
    running_left: int = 0  # how many of them have not ended, as far as was seen
    deadline: float = 0.0  # when what it does must be done; 0: nothing is timed
    task_deadline: float = 0.0  # when the one task that it runs has had its time
    batch_deadline: float = 0.0  # the same for all that it was sent
    inspect_at: float = inf  # when control is to see how far it is, or to renew its lease
    answers_at: float = 0.0  # when control should have dealt with what it was asked


@dataclass(frozen=True, slots=True, eq=False)
class WorkerRecord:
    """The master's view of one child of a site: who it is, and three parts, each written by one class only.

    The child itself is child.worker or child.control.
    """

    id: int  # unique for the life of the master
    slot: int  # the number in its title, the lowest that was free; 0 for control
    site: str
    role: Role
    started_at: float  # monotonic seconds
    life: Lifecycle
    max_requests: int = 0  # drawn when it is made, with jitter; 0: no limit
    remote: bool = False  # its pipe's PHP is out of our reach
    token: str = ""  # in the environment of its pipe, and of all that this starts
    boot_domain: int | None = None  # the domain with whose own pipe it was booted
    work: Assignment = field(default_factory=Assignment)
    timing: Timing = field(default_factory=Timing)
