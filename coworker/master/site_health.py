"""What control noticed of a site, and what follows: leave it alone, or replace all workers once."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from coworker.ipc.messages import SiteState
from coworker.policy import site_health as awareness
from coworker.policy.site_health import Hold, Observed

if TYPE_CHECKING:
    from coworker.config.settings import SiteSettings


class SiteHealth:
    """Of one site. `log` as Site's; `roll(why)` replaces all children, one after the other."""

    def __init__(self, settings: SiteSettings, log: Callable[..., None], roll: Callable[[], None]) -> None:
        self.settings = settings
        self.holds: list[Hold] = []
        self.since = 0.0  # monotonic seconds: since when anything holds
        self._log = log
        self._roll = roll
        self._digest = ""  # of the code that the workers have
        self._new: tuple[str, str, float] | None = None  # other code: digest, what, and since when it is so
        self._rolled_for = ""  # the version of the database that the workers were replaced for

    @property
    def held(self) -> bool:
        """Whether nothing may be claimed."""
        return bool(self.holds)

    @property
    def fresh_every(self) -> float:
        """Seconds after which control is replaced, to see settings afresh."""
        passing = any(hold.passing for hold in self.holds)
        return awareness.FRESH_WHILE_HELD if passing else awareness.FRESH_EVERY

    def noticed(self, state: SiteState, now: float) -> bool:
        """Take a report of control. Whether it now holds and did not before."""
        seen = Observed(*state[:4])
        before = self.holds
        self.holds = awareness.holds(seen, allow_non_production=self.settings.allow_non_production)
        if awareness.is_stale(seen) and self._rolled_for != state.database:
            self._rolled_for = state.database or ""
            self._renew(f"the database is of version {state.database}, the code that runs of {state.code}")
        self._tell(before, now)
        if self.settings.watch_code and state.digest:
            self._code(state, now)
        return bool(self.holds) and not before

    def _tell(self, before: list[Hold], now: float) -> None:
        for hold in self.holds:
            if hold not in before:
                self._log(
                    "warning", "site_held", reason=hold.reason, what="nothing is claimed until that is over"
                )
        if self.holds and not before:
            self.since = now
        elif before and not self.holds:
            self._log("notice", "site_free", held_seconds=round(now - self.since, 1))

    def _code(self, state: SiteState, now: float) -> None:
        if not self._digest:
            self._digest = state.digest
        elif state.digest == self._digest:
            self._new = None
        elif self._new is None or self._new[0] != state.digest:
            self._new = state.digest, state.what, now

    def due_at(self) -> float:
        """When code that changed will have been as it is for long enough."""
        return self._new[2] + awareness.SETTLED_AFTER if self._new else inf

    def tend(self, now: float) -> None:
        """Replace the workers once the new code is complete."""
        if self._new is not None and now >= self.due_at():
            digest, what, _ = self._new
            self._digest, self._new = digest, None
            self._renew(f"code changed: {what}" if what else "code changed")

    def _renew(self, why: str) -> None:
        self._log("notice", "renewing", reason=why, what="all workers are replaced, one after the other")
        self._roll()

    def title(self) -> str:
        """For the master's title; "" if nothing holds."""
        if not self.holds:
            return ""
        moment = time.strftime(
            "%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - (time.monotonic() - self.since))
        )
        return f"held since {moment}: {self.holds[0].reason}"
