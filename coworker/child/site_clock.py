"""Whether the site's clock was set: then the ages of leases, by our clock and by its own, do not agree."""

from __future__ import annotations

import time
from datetime import datetime

from coworker.policy.settlement import CLOCK_SLACK

KEPT = 20  # steps that are remembered


class SiteClock:
    """The steps of the site's clock against the monotonic one, as far as this process has seen it.

    Its time comes in whole seconds and takes a moment to come: smaller steps are not seen, nor matter.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None  # seconds by which the site was ahead when it was seen last
        self._steps: list[tuple[float, float]] = []  # (when it was certain, seconds)

    def saw(self, site_now: str | None) -> None:
        """Take the site's time as it is just now (`YYYY-MM-DD HH:MM:SS`); None: nobody asked."""
        if site_now is None:
            return
        now = time.monotonic()
        ahead = (datetime.fromisoformat(site_now) - datetime.min).total_seconds() - now
        if self._ahead is not None and abs(ahead - self._ahead) <= CLOCK_SLACK:
            return
        if self._ahead is not None:
            self._steps = [*self._steps[1 - KEPT :], (now, ahead - self._ahead)]
        self._ahead = ahead

    def steps(self, since: float) -> list[float]:
        """By how much (seconds) the clock may have been set since then (monotonic seconds), 0.0 first.

        It is not known when between two sights a step was. So each sum of the last steps is possible.
        """
        sums = [0.0]
        for seen_at, step in reversed(self._steps):
            if seen_at < since:
                break
            sums.append(sums[-1] + step)
        return sums
