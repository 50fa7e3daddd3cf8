"""The nouns. Read this first: everything else passes these values around.

An *item* is a row of `civicrm_queue_item`. A worker *claims* items (CiviCRM leases them to it), runs
them under an *identity*, and each ends in an *outcome*. A *record* is what the master knows of a child.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, NamedTuple


class Identity(NamedTuple):
    """Whom a task runs as: a contact in a domain; without a contact it is the system (design, section 5)."""

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
    """How an item ended (contract A3). UNKNOWN: gone, or an answer we have no name for."""

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
    """What a child is for. Control looks and settles; workers claim and run."""

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
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"


class MasterPhase(str, Enum):
    """What the master is about. HALTING: pipes are being killed."""

    RUNNING = "running"
    QUIET = "quiet"
    STOPPING = "stopping"
    HALTING = "halting"


class ExitStatus(NamedTuple):
    """How a process ended; exactly one of the two is set, or none when nobody saw it."""

    code: int | None = None
    signal: int | None = None

    @classmethod
    def from_returncode(cls, returncode: int | None) -> ExitStatus:
        """From `Popen.returncode` or `os.waitstatus_to_exitcode`: negative is a signal."""
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


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """What `Queue.get` says of a queue with work, as far as the daemon cares. Times in seconds."""

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
        """Type `Sql` looks only at its head item: one worker at a time (contract A4)."""
        return self.type == "Sql"


class Lease(NamedTuple):
    """A lease of ours began within the `seconds` before `at` (monotonic seconds).

    One clock for all processes of a machine, so whoever judges it may be another than who claimed.
    """

    at: float
    seconds: float = 0.0


@dataclass(slots=True)
class WorkerRecord:
    """The master's view of one child. The child's own body is tasks.working or tasks.looking.

    `state` is set by `Roster.move` alone. Times are monotonic seconds.
    """

    id: int  # unique for the life of the master
    slot: int  # 1..count, the number in the title; 0 for control
    site: str
    role: Role
    generation: int
    started_at: float
    max_requests: int  # drawn at birth, with jitter; 0: no limit
    max_age: float  # seconds, drawn at birth, with jitter; 0: no limit
    remote: bool = False  # its pipe's PHP is out of our reach
    boot_domain: int | None = None  # the domain with whose own pipe it was booted
    domain: int | None = None  # that its pipe serves, as far as is known
    pid: int = 0
    pipe_group: int = 0  # process group of its pipe, 0 until it is known
    state: WorkerState = WorkerState.BOOTING
    retire_reason: RetireReason | None = None
    identity: Identity | None = None  # None: not bound yet
    promised: Identity | None = None  # of whom it was sent items, while it is unbound
    queue: str | None = None  # what it works on while BUSY
    last_queue: str | None = None
    claiming: str | None = None  # the queue of a claim that was sent and not answered
    claiming_at: float = 0.0  # when it was sent
    claims: int = 0  # answered to it, as far as it has said
    running: str | None = None  # the claim that it runs items of
    running_left: int = 0  # how many of them have not ended, as far as was seen
    deadline: float = 0.0  # when what it does must be done; 0: nothing is timed
    task_deadline: float = 0.0  # when the one task that it runs has had its time
    batch_deadline: float = 0.0  # the same for all that it was sent
    look_at: float = inf  # when control is to look how far it is, or to renew its lease
    progress_at: float = 0.0  # its last report about work
    idle_since: float = 0.0
    answers_at: float = 0.0  # when control should have dealt with what it was asked
    done: int = 0  # items ended in it
    last_words: str = ""  # why its pipe was lost
    said_bye: bool = False  # then it had said all
    expired: RetireReason | None = None  # a successor shall replace it, whatever its limits say
    canary: bool = False  # boots with settings that are not in force yet
