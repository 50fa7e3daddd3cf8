"""The title of the master: its settings, and which sites are down, since when and why."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import setproctitle

if TYPE_CHECKING:
    from coworker.master.site import Site

MOST = 120  # characters of a reason


class MasterTitle:
    """`name` is what the settings were read from. Written only on change."""

    def __init__(self, name: str) -> None:
        self._name = name.encode(errors="replace").decode()
        self._down: tuple[object, ...] | None = None

    def show(self, sites: Iterable[Site]) -> None:
        """Cheap while nothing has changed: it is called in each turn of the loop that decides something."""
        sites = list(sites)
        down = tuple(
            each for site in sites for each in (site.staff.breaker.open_since, tuple(site.health.holds))
        )
        if down != self._down:
            self._down = down
            texts = [text for site in sites if (text := _text(site))]
            setproctitle.setproctitle("  ".join([f"coworker: master [{self._name}]", *texts]))


def _text(site: Site) -> str:
    breaker = site.staff.breaker
    if not breaker.is_open:
        held = site.health.title()
        return f"{site.settings.name} {held}"[: MOST + 60] if held else ""
    since = time.time() - (time.monotonic() - (breaker.open_since or 0.0))
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
    reason = " ".join(breaker.reason.split())[:MOST]
    return f"{site.settings.name} down since {moment}: {reason}"
