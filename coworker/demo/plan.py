"""What the demo makes: its queues, how many tasks each gets, and what must become of every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NAP = 0.1  # seconds that a slow task takes
CONTACTS = (101, 102)
MIN_REQUESTS = 25  # a worker that did less is not worth replacing


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """A queue and its tasks. `callback` is a function of demo.tasks; it gets `arguments` behind the diary.

    `tries`: how often each task is begun until it ends for good; `contacts`: whom the tasks run as, in turn.
    """

    name: str
    about: str
    percent: int
    callback: str = "succeed"
    arguments: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)  # as of Queue.create
    tries: int = 1
    succeeds: bool = True
    contacts: tuple[int | None, ...] = (None,)

    @property
    def linear(self) -> bool:
        return self.settings.get("type") == "Sql"


QUEUES = (
    QueuePlan("fast", "nothing to do", 35),
    QueuePlan("slow", f"{NAP * 1000:.0f} ms each", 4, "nap", (NAP,)),
    QueuePlan("batch", "20 in one call", 25, settings={"batch_limit": 20}),
    QueuePlan("linear", "one after the other", 10, settings={"type": "Sql"}),
    QueuePlan(
        "flaky", "fails twice, then succeeds", 10, "fail_until", (3,),
        settings={"retry_limit": 2, "retry_interval": 1}, tries=3,
    ),
    QueuePlan(
        "failing", "always fails, is given up", 6, "fail",
        settings={"retry_limit": 1}, tries=2, succeeds=False,
    ),
    QueuePlan("identities", "two contacts, mixed", 10, settings={"batch_limit": 10}, contacts=CONTACTS),
)  # fmt: skip


class Expected(NamedTuple):
    """What must become of one task: begun `tries` times as `contact`, then it `succeeds` or is given up."""

    queue: str
    tries: int = 1
    succeeds: bool = True
    contact: int | None = None


def share_out(total: int, percents: Sequence[int]) -> list[int]:
    """Split `total` by percents that make 100. The parts add up exactly; none is 0 if that can be."""
    parts = [total * percent // 100 for percent in percents]
    remainders = [total * percent % 100 for percent in percents]
    by_remainder = sorted(range(len(parts)), key=lambda place: -remainders[place])
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    while 0 in parts and max(parts) > 1:
        parts[parts.index(max(parts))] -= 1
        parts[parts.index(0)] += 1
    return parts


def count_runs(queues: Sequence[QueuePlan], counts: Sequence[int]) -> int:
    """Return how many times tasks are begun, all in all."""
    return sum(queue.tries * count for queue, count in zip(queues, counts, strict=True))


def choose_max_requests(runs: int, workers: int) -> int:
    """Return a limit that each worker reaches about twice, so that one sees workers being replaced."""
    return max(MIN_REQUESTS, runs // (2 * workers))
