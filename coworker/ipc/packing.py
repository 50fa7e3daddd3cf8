"""Values as they travel between processes and lie in journals: JSON lists, in as few bytes as may be.

Items are packed in runs of one identity, `[contact, domain, [id, …]]`, outcomes in runs of one outcome,
`[outcome, [id, …]]`. QueueInfo, Lease and Unsettled are lists of their values. The `unpack` functions raise
ValueError, TypeError or LookupError for anything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coworker.model import SYSTEM, Identity, Item, Lease, QueueInfo, Unsettled


def pack(items: Iterable[Item]) -> list[list[Any]]:
    """Pack items in their order."""
    return [[*identity, ids] for identity, ids in pack_runs(items)]


def pack_runs(pairs: Iterable[tuple[str, Any]]) -> list[list[Any]]:
    """Pack pairs of an id and a value, such as an outcome, in their order: `[value, [id, …]]` each run."""
    runs: list[list[Any]] = []
    ids: list[str] = []
    last = None
    for item_id, value in pairs:
        if value != last:
            last, ids = value, []
            runs.append([value, ids])
        ids.append(item_id)
    return runs


def unpack(runs: Iterable[list[Any]]) -> list[Item]:
    """The items that `pack` packed."""
    items: list[Item] = []
    for contact, domain, ids in runs:
        identity = SYSTEM if contact is None and domain is None else Identity(contact, domain)
        items += [Item(item_id, identity) for item_id in ids]
    return items


def unpack_queue(values: Iterable[Any]) -> QueueInfo:
    """The QueueInfo whose values these are."""
    info = QueueInfo(*values)
    if not isinstance(info.name, str):
        raise TypeError(f"the name of a queue cannot be {info.name!r}")
    return info


def unpack_lease(values: Iterable[Any]) -> Lease:
    """The Lease whose values these are, in seconds."""
    at, seconds, *release = values
    return Lease(float(at), float(seconds), _text(release[0] if release else None))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


_LATER: list[Any] = [[], False, [], None, False]  # what an Unsettled of a version before lacks at its end


def unpack_unsettled(values: Iterable[Any]) -> Unsettled:
    """The Unsettled whose values these are."""
    sent, unsent, cause, stopped_by_us, blameless, out_of_sight, delay, *later = values
    poisoned, signalled, unspared, begun, by_itself = later + _LATER[len(later) :]
    return Unsettled(
        sent=list(map(str, sent)),
        unsent=list(map(str, unsent)),
        cause=str(cause),
        stopped_by_us=bool(stopped_by_us),
        blameless=bool(blameless),
        out_of_sight=bool(out_of_sight),
        delay=int(delay),
        poisoned=list(map(str, poisoned)),
        signalled=bool(signalled),
        unspared=list(map(str, unspared)),
        begun=None if begun is None else list(map(str, begun)),
        by_itself=bool(by_itself),
    )
