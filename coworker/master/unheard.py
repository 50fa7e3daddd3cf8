"""What a child did and could not say any more: its journal knows.

A child says some things in passing, up to a moment later (`link.PASSING`). It writes them down before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coworker.ipc import messages as m
from coworker.master.ledger import Ledger, Place
from coworker.model import WorkerRecord

ROUNDED = 1e-5  # seconds, above the error of times with six decimals
Unheard = m.Claiming | m.NotClaimed | m.Claimed | m.RunSent | m.NotBegun | m.Ended


def unheard(path: Path, record: WorkerRecord, ledger: Ledger) -> Iterator[Unheard]:
    """Its reports beyond those that were heard of it, in order. Take each before the next is asked for.

    A line that cannot be read is left out: nobody was told to go on because of it. Raises OSError.
    """
    queue, since, answered = "", 0.0, True
    for line in path.read_bytes().split(b"\n")[1:-1]:  # behind the last newline: nothing, or a torn line
        try:
            kind, *values = json.loads(line)
            if kind == "claiming":
                queue, since, answered = str(values[0][0]), float(values[1]), False
            elif kind in ("took", "nothing"):
                answered = True
            report = _report(kind, values, queue, record, ledger)
        except (ValueError, TypeError, LookupError):
            continue
        if report is not None:
            yield report
    if not answered and since > record.claiming_at + ROUNDED:
        yield m.Claiming(queue, since)
    elif answered and queue and record.claiming is not None:
        yield m.NotClaimed(queue)


def _report(kind: str, values: list[Any], queue: str, record: WorkerRecord, ledger: Ledger) -> Unheard | None:
    if kind == "took":
        claim, items, (at, seconds), _begun = values
        return m.Claimed(claim, queue, items, at, seconds) if _number(claim) > record.claims else None
    if kind == "began":
        return m.RunSent(values[0], _held(values[0], values[1], record, ledger))
    if kind == "notbegun":
        return m.NotBegun(values[0], _held(values[0], values[1], record, ledger))
    return m.Ended(*values) if kind == "ended" else None


def _number(claim: str) -> int:
    return int(claim.partition(".")[2])


def _held(claim: str, ids: list[str], record: WorkerRecord, ledger: Ledger) -> list[str]:
    """Those that it still has in hand, as far as was heard."""
    entries = ledger.claims[claim].entries
    return [
        each
        for each in ids
        if each in entries and entries[each].place is Place.HELD and entries[each].worker == record.id
    ]
