"""Whether a site can be used: it may be down, held, or have code that its children do not have yet.

Failed boots open its breaker: it is down. What control notices may hold it: nothing is claimed although it
answers. And when its code is new, all children that booted before are replaced once.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

from coworker.civi.launch import settings_are_fresh
from coworker.config.settings import SiteSettings
from coworker.ipc.messages import SiteState
from coworker.log import EventLog
from coworker.policy import site_health
from coworker.policy.backoff import Breaker
from coworker.policy.site_health import Hold, Observed


class SiteHealth:
    """The health of one site. Times are monotonic seconds."""

    def __init__(self, settings: SiteSettings, log: EventLog, rng: Random) -> None:
        self.settings = settings
        self.breaker = Breaker()
        self._of_site: list[Hold] = []
        self.held_since = 0.0
        self._down_since: float | None = None  # as it was told; None: it is up
        self._doubtful = False  # the last control said hello, and was of no use all the same
        self._log = log
        self._rng = rng
        self._digest = ""  # of the code that the workers have
        self._new: tuple[str, str, float] | None = None  # other code: digest, what changed, and since when
        self._background: bool | None = None  # whether imports run in the background
        self._rolled_for = ""  # the version of the database that the workers were replaced for

    @property
    def is_down(self) -> bool:
        """Whether boots have failed so often that nothing is claimed (process rule 7)."""
        return self.breaker.is_open

    def boot_failed(
        self, message: str, now: float, *, started: float, retry_after: float = 0.0, after_hello: bool = False
    ) -> None:
        """Back off after a boot, `started` then, failed. `retry_after`: seconds that the site asks for.

        `after_hello`: control booted, but failed before it was of any use. Then hellos prove nothing more.
        """
        before, was_down = self.breaker, self._down_since is not None
        self._doubtful = self._doubtful or after_hello
        self.breaker = before.failed(now, message, self._rng, started=started)
        if retry_after:
            later = max(self.breaker.next_boot_at, now + retry_after)
            self.breaker = replace(self.breaker, next_boot_at=later)
        counted = self.breaker.failures > before.failures
        repeated = before.reason == message and (was_down or not counted)
        level = "debug" if repeated else "error"
        pause, failures = round(max(0.0, self.breaker.next_boot_at - now), 1), self.breaker.failures
        self._log.event(level, "boot_failed", reason=message, failures=failures, retry_seconds=pause)
        if self.breaker.is_open and not was_down:
            self._down_since = now
            what = "nothing is claimed; one boot is tried every few seconds"
            self._log.event("critical", "site_down", reason=message, what=what)

    def boot_succeeded(self, now: float) -> None:
        """Close the breaker: a child has said hello, with the settings in force.

        Where the last control failed after its hello, failures are counted on until one has been of use.
        """
        if self._doubtful:
            self.breaker = replace(self.breaker, open_since=None)
        else:
            self._is_up(now)

    def control_was_of_use(self, now: float) -> None:
        """Note that control has found what there is to do: if hellos were doubted, they count again."""
        if self._doubtful:
            self._doubtful = False
            self._is_up(now)

    def _is_up(self, now: float) -> None:
        if self._down_since is not None:
            self._log.event("notice", "site_up", down_seconds=round(now - self._down_since, 1))
            self._down_since = None
        self.breaker = Breaker()

    def adopt(self, settings: SiteSettings) -> None:
        """Take the settings of a reload. The next boot may come at once: they may be just what was mended."""
        self.settings = settings
        self.breaker = replace(self.breaker, next_boot_at=0.0)

    @property
    def holds(self) -> list[Hold]:
        """Why nothing may be claimed although the site answers."""
        changing = [site_health.code_hold(self._new[1])] if self._new else []
        return [*self._of_site, *changing]

    @property
    def held(self) -> bool:
        """Whether there is anything of that kind."""
        return bool(self._of_site or self._new)

    @property
    def fresh_every(self) -> float:
        """The seconds after which control is replaced, to see the site's settings afresh."""
        if any(hold.passing for hold in self.holds):
            return site_health.FRESH_WHILE_HELD
        return site_health.FRESH_EVERY if settings_are_fresh(self.settings) else site_health.FRESH_ELSEWHERE

    def noticed(self, state: SiteState, now: float, *, old_code: bool = False) -> bool:
        """Take what control saw. Whether all who booted before are to be replaced because of it.

        `old_code`: this control booted before the code that its successors will find.
        """
        seen = Observed(*state[:4])
        before = self.holds
        self._of_site = site_health.holds(seen, allow_non_production=self.settings.allow_non_production)
        outdated = site_health.is_stale(seen) and self._rolled_for != state.database
        if outdated:
            self._rolled_for = state.database or ""
            self._outdated(f"the database is of version {state.database}, the code that runs of {state.code}")
        if self.settings.watch_code and state.digest:
            self._compare(state, now, old_code=old_code)
        self._tell(before, now)
        self._tell_of_imports(state.background)
        return outdated

    def code_moved(self, path: str, now: float) -> None:
        """Note that the site has another release now, all at once: nobody need wait until it is complete."""
        before = self.holds
        self._digest, self._new = "", None
        self._outdated(f"code changed: {path} leads elsewhere")
        self._tell(before, now)

    def _tell(self, before: list[Hold], now: float) -> None:
        for hold in self.holds:
            if hold not in before:
                what = "nothing is claimed until that is over"
                self._log.event("warning", "site_held", reason=hold.reason, what=what)
        if self.holds and not before:
            self.held_since = now
        elif before and not self.holds:
            self._log.event("notice", "site_free", held_seconds=round(now - self.held_since, 1))

    def _tell_of_imports(self, background: bool | None) -> None:
        """Say once who runs imports, and again when that changes (contract D5)."""
        if background is False and self._background is not False:
            what = "their queues are left alone: a browser runs them"
            why = "CiviCRM's setting enableBackgroundQueue is off"
            self._log.event("notice", "imports_left_alone", reason=why, what=what)
        elif background and self._background is False:
            self._log.event("notice", "imports_taken", reason="enableBackgroundQueue is on")
        self._background = background

    def _compare(self, state: SiteState, now: float, *, old_code: bool) -> None:
        if not self._digest:
            self._digest = "" if old_code else state.digest
        elif state.digest == self._digest:
            self._new = None
        elif self._new is None or self._new[0] != state.digest:
            self._new = state.digest, self._new[1] if self._new else state.what, now

    def due_at(self) -> float:
        """When changed code will have stayed as it is for long enough (monotonic seconds)."""
        return self._new[2] + site_health.CODE_STABLE_AFTER if self._new else inf

    def tend(self, now: float) -> bool:
        """Whether new code is complete now, so that all who booted before are to be replaced."""
        if self._new is None or now < self.due_at():
            return False
        before, (digest, what, _) = self.holds, self._new
        self._digest, self._new = digest, None
        self._outdated(f"code changed: {what}" if what else "code changed")
        self._tell(before, now)
        return True

    def _outdated(self, why: str) -> None:
        what = "all workers are replaced, one after the other"
        self._log.event("notice", "renewing", reason=why, what=what)
