"""What the master and its children say to each other: one JSON array a line, `["kind", field, …]`.

Orders go down to a child, reports go up to the master. A claim is named by the worker that made it
and a counter: `"7.42"` is the 42nd claim of worker 7. Items and outcomes travel as `packing` packs them;
a field that is a QueueInfo, a Lease or an Unsettled is one again when `decode` returns it. A child without
a pipe knows only Note, Bye, Flush and Retire.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from coworker.errors import ProtocolError
from coworker.ipc.packing import unpack_lease, unpack_queue, unpack_unsettled
from coworker.model import Lease, QueueInfo, Unsettled

# --- orders: master → child ------------------------------------------------------------------------


class Look(NamedTuple):
    """Control: which queues have work? Not in `skip`. Which of those `remembered` have no rows at all?"""

    skip: list[str]
    remembered: Sequence[str] = ()


class Work(NamedTuple):
    """Worker: claim from a queue and run, batch after batch, for `seconds` or `quota` items (0: no limit).

    Unless it may `bind`, an unbound worker hands contacts' items on.
    """

    info: QueueInfo
    seconds: float
    quota: int = 0
    bind: bool = True


class Run(NamedTuple):
    """Worker: run these items, all of one identity, of a claim that another worker made, and its `leases`."""

    claim: str
    info: QueueInfo
    leases: list[Lease]
    items: list[list[Any]]


class Settle(NamedTuple):
    """Control: find out what became of these items of a claim, and end them (failure rules).

    `ref` names this order in the answer. Their rows may show any of the `leases`.
    """

    ref: int
    info: QueueInfo
    leases: list[Lease]
    part: Unsettled


class Search(NamedTuple):
    """Control: find and end what a claim took whose answer never came (rule 7). Answered by Settled, too.

    It was sent at `since`, and nothing of it ran any more at `until` (monotonic seconds). `named` are the ids
    that other answers named.
    """

    ref: int
    info: QueueInfo
    since: float
    until: float
    named: list[str]
    sole: bool


class Inspect(NamedTuple):
    """Control: which of these rows are still under our lease? With `renew`, begin it anew for them."""

    claim: str
    info: QueueInfo
    ids: list[str]
    leases: list[Lease]
    renew: bool


class Fetch(NamedTuple):
    """Control: claim a batch for workers that cannot claim themselves."""

    info: QueueInfo


class IssueToken(NamedTuple):
    """Control: make a credential for this contact, for that worker (its record's id)."""

    worker: int
    contact: int


NO_CONTROL = "control is not there"  # the error of a Token that may be asked for again


class Token(NamedTuple):
    """Worker: the credential it wanted, or why there is none."""

    contact: int
    credential: str
    error: str = ""


class Flush(NamedTuple):
    """Say at once what was kept back to be said in passing; answered by Flushed."""


class Pause(NamedTuple):
    """Worker: end the order under way after the current batch, and wait for another."""


class Retire(NamedTuple):
    """End after the current batch; with `now`, end the pipe at once, whatever it runs."""

    reason: str
    now: bool = False


# --- reports: child → master -----------------------------------------------------------------------


class Spawned(NamedTuple):
    """The pipe was started; its process group is `group`."""

    group: int


class Ready(NamedTuple):
    """It said hello. `domain`: that its pipe serves, if it says so.

    `gives_back`: control's word whether rows can be given back; None from workers.
    """

    version: str
    boot_seconds: float
    gives_back: bool | None = None
    domain: int | None = None


class BootFailed(NamedTuple):
    """`retry_after`: seconds that the site asks us to wait; 0: it says nothing."""

    message: str
    retry_after: float = 0.0


class WorkFound(NamedTuple):
    """Answer to look: the queues with work; the look's seconds.

    `rowless`: those of the remembered ones that have no rows.
    """

    queues: list[QueueInfo]
    seconds: float
    rowless: Sequence[str] = ()


class LookFailed(NamedTuple):
    """The site answered the look with an error, but its database is there."""

    message: str


class Fetched(NamedTuple):
    """Control's order to fetch is over: whether it got anything, and whether it could ask at all."""

    queue: str
    got: bool
    failed: bool = False


class TokenWanted(NamedTuple):
    """A worker needs a short-lived credential of this contact."""

    contact: int


class TokenIssued(NamedTuple):
    """Control's answer to IssueToken. `error`: why there is none."""

    worker: int
    contact: int
    credential: str
    error: str = ""


class SiteState(NamedTuple):
    """What control saw of the site. `code`: the version of the pipe's code; None: not to be seen.

    `digest` changes with the files of the code, `what` is the first that changed since this control booted.
    """

    environment: str | None
    maintenance: bool | None
    code: str | None
    database: str | None
    digest: str
    what: str


class NotClaimed(NamedTuple):
    """Not a byte of the claim was sent, whatever Claiming said."""

    queue: str


class Claiming(NamedTuple):
    """Said before the claim is sent, at `at` (monotonic seconds), so that one without an answer is known."""

    queue: str
    at: float


class Claimed(NamedTuple):
    """The claim was answered at `at` (monotonic seconds) after `seconds`: its lease began in between."""

    claim: str
    queue: str
    items: list[list[Any]]
    at: float
    seconds: float


class HandedOff(NamedTuple):
    """These items of the claim belong to another identity; somebody else must run them."""

    claim: str
    ids: list[str]


class Refused(NamedTuple):
    """These items cannot be run by this site's pipes as they are set up; nothing of them was begun."""

    claim: str
    ids: list[str]
    message: str


class Bound(NamedTuple):
    """From now on this worker serves only this identity."""

    contact: int | None
    domain: int | None


class RunSent(NamedTuple):
    """These items are being sent to the pipe now. Claimed says so for a bound worker's own identity."""

    claim: str
    ids: list[str]


class NotBegun(NamedTuple):
    """Not a byte of the request to run these was sent, whatever was said before."""

    claim: str
    ids: list[str]


class Done(NamedTuple):
    """Outcomes in runs, in the order they were run; all took `seconds` together.

    `errors`: what the site said of those that failed, by id: title, callback, error.
    """

    claim: str
    outcomes: list[list[Any]]
    seconds: float
    errors: Mapping[str, dict[str, Any]] = {}


class BatchDone(NamedTuple):
    """A batch from its claim, sent at `asked_at`, to its end: what Claiming, Claimed, Done would have said.

    All of it was of one identity, the worker's own.
    """

    claim: str
    queue: str
    asked_at: float
    contact: int | None
    domain: int | None
    outcomes: list[list[Any]]
    seconds: float
    errors: Mapping[str, dict[str, Any]] = {}


class Unanswered(NamedTuple):
    """runItems was answered without an outcome for these ids, but the pipe lives.

    Not `begun`: the queue cannot be run at all, or the request was never sent.
    """

    claim: str
    ids: list[str]
    message: str
    begun: bool = True


class Flushed(NamedTuple):
    """All that was done before this has been said."""


class Ended(NamedTuple):
    """These items ended; with which outcomes is not known any more. Only a journal says so."""

    claim: str
    ids: list[str]


class Idle(NamedTuple):
    """The order is over. `why`: empty, slice, quota, handed, order (another order waits), failed, ran."""

    queue: str
    why: str


class ClaimFailed(NamedTuple):
    """The site refuses claims from this queue; the pipe lives."""

    queue: str
    message: str


class Settled(NamedTuple):
    """The claim's end, as `[id, fate, text]`; fates in policy.settlement."""

    ref: int
    fates: list[list[str]]


class SettleFailed(NamedTuple):
    """The claim could not be settled. `final`: trying again is of no use."""

    ref: int
    message: str
    final: bool


class MemoryHigh(NamedTuple):
    """Its pipe holds so much memory (MiB) that another shall take its place."""

    mebibytes: int


class Inspected(NamedTuple):
    """These rows of the claim are still ours; their lease was renewed within the `seconds` before `at`.

    `at` 0: it was not, or not for all of them.
    """

    claim: str
    ids: list[str]
    at: float
    seconds: float


class InspectFailed(NamedTuple):
    """The rows of the claim could not be looked at now."""

    claim: str
    message: str


class Failed(NamedTuple):
    """The pipe cannot be used any more; this child leaves. `cause` is a RetireReason's value."""

    cause: str
    message: str


class Note(NamedTuple):
    """A line for the log."""

    level: str
    event: str
    fields: dict[str, Any]


class Bye(NamedTuple):
    """The pipe is gone, its process group empty; this child exits now."""

    reason: str
    pipe_exit: str


Order = Look | Work | Run | Fetch | IssueToken | Token | Settle | Search | Inspect | Flush | Pause | Retire
Report = (
    Spawned
    | Ready
    | BootFailed
    | WorkFound
    | LookFailed
    | Fetched
    | TokenWanted
    | TokenIssued
    | SiteState
    | NotClaimed
    | Claiming
    | Claimed
    | HandedOff
    | Refused
    | Bound
    | RunSent
    | NotBegun
    | Done
    | BatchDone
    | Unanswered
    | Flushed
    | Ended
    | Idle
    | ClaimFailed
    | Settled
    | SettleFailed
    | MemoryHigh
    | Inspected
    | InspectFailed
    | Failed
    | Note
    | Bye
)

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(Order), *get_args(Report))}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode
_decode = json.JSONDecoder().decode  # json.loads would first guess the encoding
# JSON knows only lists: what makes a field again what it was, by type; and where it is needed, by kind.
_UNPACK: dict[Any, Any] = {
    QueueInfo: unpack_queue,
    list[QueueInfo]: lambda rows: list(map(unpack_queue, rows)),
    list[Lease]: lambda leases: list(map(unpack_lease, leases)),
    Unsettled: unpack_unsettled,
}
_UNPACKED = {
    name: places
    for name, kind in _KINDS.items()
    if (places := [(at, _UNPACK[a]) for at, a in enumerate(kind.__annotations__.values()) if a in _UNPACK])
}


def encode(message: Order | Report) -> bytes:
    """One line, newline included."""
    return _encode([type(message).__name__, *message]).encode() + b"\n"


def decode(line: bytes) -> Any:
    """The message in a line. Raises ProtocolError for a line that is not a message."""
    try:
        kind, *fields = _decode(line.decode())
        for place, unpack in _UNPACKED.get(kind, ()):
            fields[place] = unpack(fields[place])
        return _KINDS[kind](*fields)
    except (ValueError, LookupError, TypeError) as error:
        raise ProtocolError(f"not a message: {line[:200]!r}") from error
