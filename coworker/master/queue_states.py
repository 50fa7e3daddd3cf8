"""What the master knows of each queue with work, from looks and claims, and when the next look is due.

A QueueState is a value; the present ones are kept, and replaced, only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from random import Random

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Look, WorkFound
from coworker.log import EventLog
from coworker.model import Identity, QueueInfo
from coworker.policy import backoff, polling, scheduling
from coworker.policy.scheduling import QueueState

MOST_KNOWN = 1000  # queues whose names a new control is told
LOOK_BASE, LOOK_CAP = 1.0, 30.0  # seconds between looks that the site refuses


class Looks:
    """When control looks for work, and which control does. Times are monotonic seconds."""

    def __init__(self, log: EventLog, rng: Random) -> None:
        self.asked = 0  # the control that was asked to look and has not answered
        self.next_at = 0.0
        self._failures = 0
        self._log = log
        self._rng = rng

    def hasten(self, now: float) -> bool:
        """Have the next look made at once. Returns True: there is something to decide."""
        self.next_at = now
        return True

    def lost(self, control: int, now: float) -> None:
        """Forget a look that this control will not answer any more, and have another made at once."""
        if self.asked == control:
            self.asked = 0
            self.next_at = now

    def failed(self, message: str, now: float) -> None:
        """Note that the site refused the look, which is tried again later."""
        self.asked = 0
        self._failures += 1
        pause = backoff.delay(self._failures, self._rng, base=LOOK_BASE, cap=LOOK_CAP)
        self.next_at = now + pause
        level = "error" if self._failures == 1 else "debug"
        self._log.event(level, "look_failed", reason=message, retry_seconds=round(pause, 1))

    def answered(self, next_at: float) -> None:
        """Note that the site answered the look."""
        self.asked = 0
        self._failures = 0
        self.next_at = next_at


class QueueStates:
    """The states of one site's queues, by name. `clock` is the scheduler's virtual time."""

    def __init__(self, settings: SiteSettings, log: EventLog, rng: Random) -> None:
        self.settings = settings
        self.looks = Looks(log, rng)
        self.clock = 0.0
        self._states: dict[str, QueueState] = {}
        self._skipped: Collection[str] = ()
        self._known: dict[str, None] = {}  # queues that had work, the newest last
        self._told = 0  # the control that knows them
        self._log = log
        self._rng = rng

    @property
    def states(self) -> Mapping[str, QueueState]:
        """All the states, to be read only."""
        return self._states

    def info(self, name: str) -> QueueInfo:
        """The settings of a queue, as far as they are known."""
        return self._states[name].info if name in self._states else QueueInfo(name)

    def reconfigure(self, settings: SiteSettings) -> None:
        """Take the settings of a reload. A look is due, since the old interval may have been a long one."""
        self.settings = settings
        self.looks.next_at = 0.0
        for state in list(self._states.values()):
            self._put(_configured(state, settings))

    def look(self, now: float, *, free: bool, control: int, remembered: Collection[str] = ()) -> Look:
        """The order for the look that is due. `remembered`: queues of which crashes are counted."""
        self.looks.asked = control
        skip = polling.skip(self._states.values(), now, free, self.settings.poll_interval)
        self._skipped = frozenset(skip)
        known = list(self._known) if control != self._told else []
        self._told = control
        return Look(skip, list(remembered), known)

    def work_found(self, report: WorkFound, now: float) -> None:
        """Note the queues that control saw with work; all others but those it was to skip have none."""
        settings = self.settings
        pause = polling.interval(report.seconds, settings.poll_interval, settings.poll_limit)
        self.looks.answered(now + pause)
        for info in report.queues:
            self._known.pop(info.name, None)
            self._known[info.name] = None
            self._put(scheduling.found(self._state(info), info, self.clock))
        for name in list(self._known)[:-MOST_KNOWN]:
            del self._known[name]
        found = {info.name for info in report.queues}
        for name, state in list(self._states.items()):
            if name not in found and name not in self._skipped:
                if state.working or state.handed or state.retry_at > now:  # what failed may not be back yet
                    self._put(state._replace(demand=0))
                else:
                    del self._states[name]

    def begin(self, state: QueueState) -> None:
        """Note that an order to work this queue goes out."""
        self.clock = state.virtual_time
        self._put(scheduling.begun(state))

    def join(self, info: QueueInfo) -> None:
        """Note that a worker takes handed items of this queue, which does not use up a turn of the queue."""
        state = self._state(info)
        self._put(state._replace(working=state.working + 1))

    def full(self, name: str) -> bool:
        """Whether this queue has as many workers as it may, by itself or with those that share its limit."""
        state = self._states.get(name)
        if state is None or state.full or not state.total.limit:
            return state is not None and state.full
        return state.total.pattern in scheduling.at_total(self._states.values())

    def mark_unserved(self, now: float) -> list[QueueState]:
        """The queues that could have a worker and have none that fits, each marked with since when."""
        waiting = []
        full = scheduling.at_total(self._states.values())
        for state in list(self._states.values()):
            if state.assignable(now) and state.total.pattern not in full:
                marked = state if state.unserved_since else state._replace(unserved_since=now)
                waiting.append(marked)
                self._put(marked)
            elif state.unserved_since:
                self._put(state._replace(unserved_since=0.0))
        return waiting

    def next_at(self) -> float:
        """When the next backoff of a queue ends."""
        states = self._states.values()
        return min((state.retry_at for state in states if state.demand and state.retry_at), default=inf)

    def claimed(
        self, name: str, items: int, identity: Identity, now: float, can_join: Callable[[], bool]
    ) -> bool:
        """Note a batch that was claimed, its first item for `identity`. Whether one more worker is to join.

        If none can, the demand that the batch proves is of no use now, and it says nothing of later.
        """
        state = self._states.get(name) or self._state(QueueInfo(name))
        demand = scheduling.proved(state, items)
        one_more = (
            demand > 0 and not state.failures and state.open(now) and not self.full(name) and can_join()
        )
        self._put(scheduling.claimed(state, demand if one_more else min(1, demand), identity, now))
        return one_more

    def left(self, name: str, *, demand: bool) -> None:
        """Note that a worker has left this queue. `demand`: as far as is known there is work left."""
        state = self._states.get(name)
        if state is not None:
            known = max(1, state.demand) if demand else state.demand
            self._put(state._replace(working=state.working - 1, demand=known))

    def found_empty(self, name: str, batches: int, now: float) -> None:
        """Note that an order, or a fetch, ended with an empty claim after so many batches."""
        self.left(name, demand=False)
        state = self._states.get(name)
        if state is None:
            return
        state = state._replace(demand=0)
        if batches:
            self.looks.next_at = now  # after work the next look follows at once
        elif state.seen:  # else it was another worker's batch that promised more
            state = state._replace(seen=False, empty=state.empty + 1)
            if state.empty >= polling.EMPTY_PATIENCE:
                state = state._replace(retry_at=now + polling.EMPTY_DELAY)
            if state.empty == polling.EMPTY_PATIENCE:
                reason = "it seems to have work, but claims come back empty: paused, or busy?"
                self._log.event("notice", "queue_gives_nothing", queue=name, reason=reason)
        self._put(state)

    def ran(self, name: str) -> None:
        """Note that a batch of this queue came to outcomes: whatever failed before is over."""
        state = self._states.get(name)
        if state is not None and state.failures:
            self._put(state._replace(failures=0, failure=""))

    def claim_failed(self, name: str, message: str, now: float, *, cap: float = backoff.QUEUE_CAP) -> None:
        """Have a queue that fails by its own fault back off alone, for `cap` seconds at most."""
        state = self._state(self.info(name))
        failures = state.failures + 1
        pause = backoff.delay(failures, self._rng, base=backoff.QUEUE_BASE, cap=cap)
        self._log.event(
            "debug" if state.fails_as(message) else "warning", "claim_failed", queue=name,
            reason=message, failures=failures, retry_seconds=round(pause, 1),
        )  # fmt: skip
        self._put(state._replace(failures=failures, failure=message, retry_at=now + pause))

    def hand(self, info: QueueInfo, items: int, identity: Identity | None) -> None:
        """Count items that wait for a worker of this identity; None: no worker could ever run them."""
        state = self._state(info)
        self._put(state._replace(handed=state.handed + items, last_identity=identity))

    def unhand(self, name: str, items: int) -> None:
        """Uncount handed items, which wait no more."""
        if (state := self._states.get(name)) is not None:
            self._put(state._replace(handed=state.handed - items))

    def _state(self, info: QueueInfo) -> QueueState:
        """The state of a queue, made if need be, with its settings as just read."""
        state = self._states.get(info.name)
        if state is None:
            return _configured(QueueState(info, demand=0, virtual_time=self.clock), self.settings)
        return state._replace(info=info) if state.info != info else state

    def _put(self, state: QueueState) -> None:
        self._states[state.info.name] = state


def _configured(state: QueueState, settings: SiteSettings) -> QueueState:
    """The state with weight and limits as in the settings."""
    name = state.info.name
    rule = settings.queue(name)
    return state._replace(weight=rule.weight, concurrency=rule.concurrency, total=settings.total(name))
