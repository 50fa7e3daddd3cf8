"""Which queues have work, as far as looks and claims tell; and when to look next."""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from coworker.config.settings import SiteSettings
from coworker.ipc.messages import Look, WorkFound
from coworker.model import QueueInfo
from coworker.policy import backoff, polling
from coworker.policy.scheduling import QueueState

LOOK_BASE, LOOK_CAP = 1.0, 30.0  # seconds between looks that the site refuses
Log = Callable[..., None]


class QueueStates:
    """The states of queues by name. `clock` is the scheduler's; times are monotonic seconds."""

    def __init__(self, settings: SiteSettings, log: Log, rng: Random) -> None:
        self.settings = settings
        self.queues: dict[str, QueueState] = {}
        self.clock = 0.0
        self.looking = 0  # the control that was asked to look and has not answered
        self.next_look_at = 0.0
        self._failures = 0
        self._skipped: Collection[str] = ()
        self._log = log
        self._rng = rng

    def look(self, now: float, *, free: bool, control: int, remembered: Collection[str] = ()) -> Look:
        """The order for the look that is due. `remembered`: queues of which something is kept."""
        self.looking = control
        skip = polling.skip(self.queues.values(), now, free, self.settings.poll_interval)
        self._skipped = frozenset(skip)
        return Look(skip, list(remembered))

    def lost(self, now: float) -> None:
        """Control left without answering."""
        self.looking = 0
        self.next_look_at = now

    def failed(self, message: str, now: float) -> None:
        """The site refused the look; later again."""
        self.looking = 0
        self._failures += 1
        pause = backoff.delay(self._failures, self._rng, base=LOOK_BASE, cap=LOOK_CAP)
        self.next_look_at = now + pause
        level = "error" if self._failures == 1 else "debug"
        self._log(level, "look_failed", reason=message, retry_seconds=round(pause, 1))

    def seen(self, report: WorkFound, now: float) -> None:
        """Control saw these queues with work, and none in others but those it was to skip."""
        self.looking = 0
        self._failures = 0
        settings = self.settings
        self.next_look_at = now + polling.interval(
            report.seconds, settings.poll_interval, settings.poll_limit
        )
        found = set()
        for values in report.queues:
            info = QueueInfo(*values)
            found.add(info.name)
            state = self.state(info)
            state.seen = True
            if not state.demand:
                state.enter(self.clock)
                state.demand = 1
        for name, state in list(self.queues.items()):
            if name not in found and name not in self._skipped:
                state.demand = 0
                if not state.working and not state.handed:
                    del self.queues[name]

    def state(self, info: QueueInfo) -> QueueState:
        """The state of a queue, new if need be, with its settings as just read."""
        state = self.queues.get(info.name)
        if state is None:
            state = self.queues[info.name] = QueueState(info, demand=0, virtual_time=self.clock)
            self.configure(state)
        state.info = info
        return state

    def configure(self, state: QueueState) -> None:
        """Take weight and limit from the settings."""
        rule = self.settings.queue(state.info.name)
        state.weight, state.concurrency = rule.weight, rule.concurrency

    def reconfigure(self, settings: SiteSettings) -> None:
        """After a reload. The next look is due: the interval may have been a long one."""
        self.settings = settings
        self.next_look_at = 0.0
        for state in self.queues.values():
            self.configure(state)
