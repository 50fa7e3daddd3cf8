"""The messages between the master and its children: one JSON array a line, `["kind", field, …]`.

Orders go down to a child, reports go up to the master. A claim is named by the child that made it and a
counter: `"7.42"` is the 42nd claim of child 7. Items and outcomes travel as `packing` packs them; a field
that is a QueueInfo, a Lease or an Unsettled is one again when `decode` returns it. A child that serves
no site knows only Note, Bye, Flush and Retire.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from coworker.errors import ProtocolError
from coworker.ipc.packing import unpack_lease, unpack_queue, unpack_unsettled
from coworker.model import Lease, QueueInfo, Unsettled

# --- orders: master → child ------------------------------------------------------------------------


class Look(NamedTuple):
    """Control: find the queues with work, but those in `skip`; say which `remembered` ones have no rows.

    `known`: queues that had work before this control came.
    """

    skip: list[str]
    remembered: Sequence[str] = ()
    known: Sequence[str] = ()


class Work(NamedTuple):
    """Worker: claim from a queue and run, batch after batch, for `seconds` or `quota` items (0: no limit)."""

    info: QueueInfo
    seconds: float
    quota: int = 0
    bind: bool = True  # else an unbound worker hands contacts' items off


class Run(NamedTuple):
    """Worker: run these items of one identity, from a claim of another child, which has these `leases`."""

    claim: str
    info: QueueInfo
    leases: list[Lease]
    items: list[list[Any]]


class Settle(NamedTuple):
    """Control: find out what became of these items of a claim, and end them (rules 2 to 6)."""

    ref: int  # names this order in the answer
    info: QueueInfo
    leases: list[Lease]  # the items' rows may show any of them
    part: Unsettled


class Search(NamedTuple):
    """Control: find and end what a claim took whose answer never came (rule 7). Settled answers this, too."""

    ref: int
    info: QueueInfo
    since: float  # when the claim was sent (monotonic seconds)
    until: float  # when nothing of it ran any more
    named: list[str]  # ids that other answers named
    sole: bool


class Inspect(NamedTuple):
    """Control: tell which of these rows are still under our lease; with `renew`, begin it anew for them."""

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
    """Worker: take the credential that you wanted, or learn why there is none."""

    contact: int
    credential: str
    error: str = ""


class Flush(NamedTuple):
    """Any child: say at once what was kept back to be said in passing; answered by Flushed."""


class Pause(NamedTuple):
    """Worker: end the order under way after the current batch, and wait for another."""


class Retire(NamedTuple):
    """Any child: retire after the current batch; with `now`, end the pipe at once, whatever it runs."""

    reason: str
    now: bool = False


# --- reports: child → master -----------------------------------------------------------------------


class Spawned(NamedTuple):
    """The pipe was started; its process group is `group`, whose leader was started at `start` (see proc)."""

    group: int
    start: int = 0


class Ready(NamedTuple):
    """The child has said hello."""

    version: str
    boot_seconds: float
    gives_back: bool | None = None  # whether control can give rows back; None from workers
    domain: int | None = None  # the one that the pipe serves, if it says so
    notes: bool = False  # whether the pipe notes what it begins


class BootFailed(NamedTuple):
    """The boot has failed. `retry_after`: seconds that the site asks us to wait; 0: it does not ask."""

    message: str
    retry_after: float = 0.0


class WorkFound(NamedTuple):
    """The answer to Look: the queues with work."""

    queues: list[QueueInfo]
    seconds: float  # that the look took
    rowless: Sequence[str] = ()  # remembered queues that have no rows


class LookFailed(NamedTuple):
    """The site answered the look with an error, but its database is there."""

    message: str


class Fetched(NamedTuple):
    """Control's fetch has ended: whether it `got` anything, and whether it `failed`, could not even ask."""

    queue: str
    got: bool
    failed: bool = False


class TokenWanted(NamedTuple):
    """The worker needs a short-lived credential for this contact."""

    contact: int


class TokenIssued(NamedTuple):
    """Control's answer to IssueToken. `error`: why there is no credential."""

    worker: int
    contact: int
    credential: str
    error: str = ""


class SiteState(NamedTuple):
    """What control saw of the site: sent at its boot, and when it has changed.

    The first four fields are those of policy.site_health.Observed, in that order.
    """

    environment: str | None
    maintenance: bool | None
    code: str | None  # the version of the pipe's code; None: it cannot be seen
    database: str | None
    digest: str  # changes with the files of the code
    what: str  # the first of them that changed since this control booted
    background: bool | None = None  # whether imports run in the background; None: there are none


class CodeMoved(NamedTuple):
    """This path leads to another directory than when the pipe was started, or nowhere: its code is old."""

    path: str


class NotClaimed(NamedTuple):
    """Not a byte of the claim was sent, whatever Claiming said."""

    queue: str


class Claiming(NamedTuple):
    """A claim is about to be sent, at `at` (monotonic seconds): so it is known even if no answer comes."""

    queue: str
    at: float


class Claimed(NamedTuple):
    """The claim was answered at `at` (monotonic seconds) after `seconds`: its lease began in between.

    `release`: the release_time of its rows, if the site says it.
    """

    claim: str
    queue: str
    items: list[list[Any]]
    at: float
    seconds: float
    release: str | None = None


class HandedOff(NamedTuple):
    """Another worker must run these items of the claim: they are of another identity, or control claimed."""

    claim: str
    ids: list[str]


class Refused(NamedTuple):
    """These items cannot be run by this site's pipes as they are set up; none of them was begun."""

    claim: str
    ids: list[str]
    message: str


class Bound(NamedTuple):
    """From now on this worker serves only this identity."""

    contact: int | None
    domain: int | None


class RunSent(NamedTuple):
    """These items are being sent to the pipe now. Claimed says so for a bound worker's own, unless remote."""

    claim: str
    ids: list[str]


class NotBegun(NamedTuple):
    """Not a byte of the request to run these was sent, whatever was said before."""

    claim: str
    ids: list[str]


class Done(NamedTuple):
    """Outcomes in runs, in the order in which the items ran; all of them took `seconds` together."""

    claim: str
    outcomes: list[list[Any]]
    seconds: float
    errors: Mapping[str, dict[str, Any]] = {}  # of those that failed, by id: title, callback, error
    each: list[float] = []  # noqa: RUF012 - seconds of each, in the same order; empty: unknown, or few


class BatchDone(NamedTuple):
    """A batch from its claim, sent at `asked_at`, to its end: in place of Claiming, Claimed and Done.

    Such a claim is never in the ledger: it had ended before the master heard of it.
    """

    claim: str
    queue: str
    asked_at: float
    contact: int | None  # all of it was of one identity, the worker's own
    domain: int | None
    outcomes: list[list[Any]]
    seconds: float
    errors: Mapping[str, dict[str, Any]] = {}
    each: list[float] = []  # noqa: RUF012


class Unanswered(NamedTuple):
    """runItems was answered without an outcome for these ids, but the pipe lives."""

    claim: str
    ids: list[str]
    message: str
    begun: bool = True  # False: the queue cannot be run at all, or the request was never sent
    noted: list[str] | None = None  # those that the pipe noted as begun; None: nobody can say
    blameless: bool = False  # the database failed, not what ran


class Flushed(NamedTuple):
    """All that was done before this has been said."""


class Ended(NamedTuple):
    """These items ended, with outcomes that are not known any more. Only a journal says so."""

    claim: str
    ids: list[str]


class Idle(NamedTuple):
    """The other half of Work, and of Run: the order has ended.

    `why`: empty, slice, quota, handed, order (another order waits), failed, ran, moved (see CodeMoved).
    """

    queue: str
    why: str


class ClaimFailed(NamedTuple):
    """The queue could not be claimed from (refused, or the claim could not be noted); the pipe lives."""

    queue: str
    message: str


class Settled(NamedTuple):
    """The claim was settled, with `[id, fate, text]` for each item; the fates are policy.settlement's."""

    ref: int
    fates: list[list[str]]


class SettleFailed(NamedTuple):
    """The claim could not be settled. `final`: trying again is of no use."""

    ref: int
    message: str
    final: bool


class Spent(NamedTuple):
    """Another should take the place of this child, when one can. `cause` is a RetireReason's value."""

    cause: str


class Inspected(NamedTuple):
    """These rows of the claim are still ours; their lease was renewed within the `seconds` before `at`."""

    claim: str
    ids: list[str]
    at: float  # monotonic seconds; 0: it was not renewed, or not for all of them
    seconds: float
    release: str = ""  # the release_time that all of them show now; "": there is no such


class InspectFailed(NamedTuple):
    """The rows of the claim could not be inspected now."""

    claim: str
    message: str


class Failed(NamedTuple):
    """The pipe cannot be used any more; this child leaves. `cause` is a RetireReason's value."""

    cause: str
    message: str


class Note(NamedTuple):
    """Something for the log."""

    level: str
    event: str
    fields: dict[str, Any]


class Bye(NamedTuple):
    """The pipe is gone, unless it `survives` in processes that we may not kill; this child exits now."""

    reason: str
    pipe_exit: str
    survives: bool = False


Order = Look | Work | Run | Fetch | IssueToken | Token | Settle | Search | Inspect | Flush | Pause | Retire
# What a child says of itself, a worker of its orders and claims, then of items; and what control answers.
LifeReport = Spawned | Ready | BootFailed | SiteState | CodeMoved | Spent | Failed | Note | Bye
ClaimReport = TokenWanted | Claiming | NotClaimed | Claimed | ClaimFailed | BatchDone | Flushed | Idle
ItemReport = Bound | HandedOff | Refused | RunSent | NotBegun | Done | Unanswered | Ended
Answer = WorkFound | LookFailed | Fetched | TokenIssued | Settled | SettleFailed | Inspected | InspectFailed
Report = LifeReport | ClaimReport | ItemReport | Answer

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (*get_args(Order), *get_args(Report))}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode
_decode = json.JSONDecoder().decode  # json.loads would first guess the encoding
# JSON knows only lists. What makes values of them again: by the type of a field, then by kind and place.
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
    """Encode a message as one line, newline included."""
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
