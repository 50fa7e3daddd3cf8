"""Did every task end as it was made to? Values in, values out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from coworker.demo.diary import OK, START, DiaryEntry
from coworker.demo.plan import Expected

NAMED = 5  # so many items of a problem are named


@dataclass(slots=True)
class Try:
    """One call of a task. `succeeded` None: it never came to an end."""

    run_count: int
    contact: int | None
    pid: int
    succeeded: bool | None = None


@dataclass(slots=True)
class Tally:
    """The counts of one queue: tasks = ok + failed + lost. `retried` counts tries beyond the first."""

    tasks: int = 0
    ok: int = 0
    retried: int = 0
    failed: int = 0
    lost: int = 0
    run_twice: int = 0


class Facts(NamedTuple):
    """What is known at the end: what was wanted, what ran, what is left, what the daemon says of it.

    `expected` and `logged` (an outcome for each try, in any order) are by item id; `linear` names queues.
    """

    expected: Mapping[str, Expected]
    entries: Sequence[DiaryEntry]
    left: AbstractSet[str]
    logged: Mapping[str, Sequence[str]]
    linear: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DemoVerdict:
    """What the judge says: `tallies` by queue, and `problems` in words, none if all is well."""

    tallies: dict[str, Tally]
    problems: list[str] = field(default_factory=list)


def judge(facts: Facts) -> DemoVerdict:
    """Count, and name everything that is not as it was made to be."""
    by_item = _collect(facts.entries)
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    faults: defaultdict[str, list[str]] = defaultdict(list)
    for item, expected in facts.expected.items():
        tries = by_item.get(item, [])
        ending = _ending(tries, expected, left=item in facts.left)
        _count(tallies[expected.queue], tries, ending, twice=_ran_twice(tries, expected))
        for fault in _find_faults(tries, expected, ending, facts.logged.get(item, ())):
            faults[fault].append(f"{expected.queue} {item}")
    faults["run, though nobody made them"] = [item for item in by_item if item not in facts.expected]
    faults["still in the store"] = sorted(facts.left)
    problems = [_describe(fault, items) for fault, items in faults.items() if items]
    for queue in sorted(facts.linear):
        problems += _check_order(queue, facts)
    return DemoVerdict(dict(tallies), problems)


def _collect(entries: Sequence[DiaryEntry]) -> dict[str, list[Try]]:
    """Return the tries of each item, in order; an end belongs to the last beginning in its process."""
    by_item: dict[str, list[Try]] = {}
    for entry in entries:
        tries = by_item.setdefault(entry.item, [])
        if entry.what == START:
            tries.append(Try(entry.run_count, entry.contact, entry.pid))
            continue
        begun = next((a for a in reversed(tries) if a.pid == entry.pid and a.succeeded is None), None)
        if begun is not None:
            begun.succeeded = entry.what == OK
    return by_item


def _ending(tries: Sequence[Try], expected: Expected, *, left: bool) -> str:
    """Return how the task ended: ok and failed are ends; whatever came to none of them is lost."""
    if left or not tries or tries[-1].succeeded is None:
        return "lost"
    if tries[-1].succeeded:
        return "ok"
    return "failed" if len(tries) >= expected.tries else "lost"


def _ran_twice(tries: Sequence[Try], expected: Expected) -> bool:
    numbers = [each.run_count for each in tries]
    return len(numbers) > expected.tries or len(set(numbers)) < len(numbers)


def _count(tally: Tally, tries: Sequence[Try], ending: str, *, twice: bool) -> None:
    tally.tasks += 1
    tally.retried += max(0, len(tries) - 1)
    tally.run_twice += twice
    setattr(tally, ending, getattr(tally, ending) + 1)


def _find_faults(tries: Sequence[Try], expected: Expected, ending: str, logged: Sequence[str]) -> list[str]:
    faults = []
    if ending == "lost":
        faults.append("lost")
    elif (ending == "ok") != expected.succeeds or len(tries) < expected.tries:
        faults.append("ended otherwise than made to")
    if _ran_twice(tries, expected):
        faults.append("run twice")
    if any(each.contact != expected.contact for each in tries):
        faults.append("run under a wrong identity")
    # Sorted: a retry at once may be logged by another worker before the first one has logged its try.
    if sorted(logged) != sorted(_outcomes(expected)):
        faults.append("logged by the daemon otherwise than made to end")
    return faults


def _outcomes(expected: Expected) -> list[str]:
    """Return what the daemon should say of each try."""
    return ["retry"] * (expected.tries - 1) + ["ok" if expected.succeeds else "delete"]


def _describe(fault: str, items: Sequence[str]) -> str:
    named = ", ".join(items[:NAMED]) + (", …" if len(items) > NAMED else "")
    return f"{fault}: {len(items)} ({named})"


def _check_order(queue: str, facts: Facts) -> list[str]:
    """Check that a linear queue ran one task after the other, in the order in which they were made."""
    made = [item for item, expected in facts.expected.items() if expected.queue == queue]
    position = {item: place for place, item in enumerate(made)}
    running, last = None, -1
    for entry in facts.entries:
        if entry.queue != queue or entry.item not in position:
            continue
        if entry.what != START:
            running = None
            continue
        if running is not None:
            return [f"queue {queue}: task {entry.item} began while {running} ran"]
        if position[entry.item] < last:
            return [f"queue {queue}: task {entry.item} began out of order"]
        running, last = entry.item, position[entry.item]
    return []
