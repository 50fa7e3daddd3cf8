"""Where workers cannot claim (control by pipe, work over HTTP), control claims for those that are free."""

from __future__ import annotations

from dataclasses import astuple

from coworker.ipc.messages import Fetch, Fetched
from coworker.master.dispatch import Dispatch
from coworker.model import WorkerRecord
from coworker.policy import matching, scheduling


class Fetching:
    """Of one site. A batch is fetched only when somebody is free who could run it."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.asked: list[tuple[str, int]] = []  # queue and control of each order that has not ended

    def orders(self, free: list[WorkerRecord], control: int, now: float) -> list[Fetch]:
        """What control is to fetch. HandedOff items that wait have the first right to who is free."""
        dispatch = self._dispatch
        orders = []
        for _ in range(len(free) - len(dispatch.handed) - len(self.asked)):
            state = scheduling.pick(
                dispatch.queues.values(),
                now,
                lambda q: any(matching.fits(w, dispatch.hint(q, now), dispatch.crowded) for w in free),
            )
            if state is None:
                break
            dispatch.watch.clock = scheduling.begin(state)
            self.asked.append((state.info.name, control))
            orders.append(Fetch(list(astuple(state.info))))
        return orders

    def fetched(self, report: Fetched, control: int, now: float) -> None:
        """One of them is over; what it got was handed on."""
        self.asked.remove((report.queue, control))
        self._dispatch.fetched(report.queue, got=report.got, failed=report.failed, now=now)

    def control_gone(self, control: int, now: float) -> None:
        """It will not answer. A claim of it without an answer is looked after by itself."""
        for queue, _ in [each for each in self.asked if each[1] == control]:
            self._dispatch.fetched(queue, got=True, failed=False, now=now)
        self.asked = [each for each in self.asked if each[1] != control]
