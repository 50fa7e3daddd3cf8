"""The title of the master: its settings, and which sites are down or held, since when and why."""

from __future__ import annotations

import time
from collections.abc import Sequence

import setproctitle

from coworker.master.views import SiteStatus
from coworker.text import one_line

MOST = 120  # characters of a reason
LONGEST = 2000  # characters of the title


class MasterTitle:
    """The title, which is written only on change. `name` is what the settings were read from."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown: Sequence[SiteStatus] | None = None

    def show(self, sites: Sequence[SiteStatus]) -> None:
        """Show the state of these sites. It is cheap while nothing has changed: every decision calls it."""
        if sites != self._shown:
            self._shown = sites
            texts = [text for site in sites if (text := _text(site))]
            title = "  ".join([f"coworker: master [{self._name}]", *texts])
            setproctitle.setproctitle(one_line(title, LONGEST))


def _text(site: SiteStatus) -> str:
    if site.down_since is not None:
        reason = " ".join(site.down_reason.split())[:MOST]
        return f"{site.name} down since {_moment(site.down_since)}: {reason}"
    if site.held_since is not None:
        return f"{site.name} held since {_moment(site.held_since)}: {site.holds[0]}"[: MOST + 60]
    return ""


def _moment(at: float) -> str:
    """A monotonic time by the clock on the wall."""
    since = time.time() - (time.monotonic() - at)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
