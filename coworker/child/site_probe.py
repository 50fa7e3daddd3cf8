"""Control's eye on the site: what makes long-lived PHP processes wrong, and what forbids to claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from coworker.child.site_clock import SiteClock
from coworker.civi.browser_runs import SETTING, is_on
from coworker.civi.connection import SiteClient
from coworker.errors import CallError
from coworker.ipc.messages import SiteState
from coworker.version import version_key

PROBE_EVERY = 10.0  # seconds between two observations of everything
CODE_EVERY = 1.0  # seconds between two glances at the code: until one sees that it changes, old code claims
MAINTENANCE_SINCE = (6, 1)  # CiviCRM; before, the unknown setting would fail the whole call (contract D10)


@dataclass
class SiteProbe:
    """The state of the site. `digest`, for local files, gives (digest, what changed since control booted); it
    is told whether to be thorough.

    `masked`: the version is the database's own, as over HTTP, where nobody sees the code's. `imports`: the
    site has imports. `fresh`: it answers with the settings of now, not with those of its boot.
    """

    client: SiteClient
    version: str
    digest: Callable[[bool], tuple[str, str]] | None
    masked: bool
    imports: bool
    fresh: bool
    clock: SiteClock = field(default_factory=SiteClock)
    _next_at: float = 0.0
    _code_at: float = 0.0
    _last: SiteState | None = None
    _environment: str | None = None
    _maintenance: bool | None = None
    _background: bool | None = None

    def seconds(self) -> float:
        """The seconds until the state of the site is to be read again."""
        next_at = self._next_at if self.digest is None else min(self._next_at, self._code_at)
        return max(0.0, next_at - time.monotonic())

    def read_settings(self) -> None:
        """Read the settings: but for some, each process answers with those of its boot, for ever."""
        known = ["environment", *([SETTING] if self.imports else [])]
        if version_key(self.version) >= MAINTENANCE_SINCE:
            known.append("core_maintenance_mode")
        try:
            values = {
                row["name"]: row["value"] for row in self.client.api4("Setting", "get", {"select": known})
            }
        except (CallError, LookupError, TypeError):
            return  # they cannot be seen, so they delay nothing
        self._environment = values.get("environment") or None
        self._maintenance = _is_on(values.get("core_maintenance_mode"))
        self._background = bool(_is_on(values.get(SETTING))) if self.imports else None

    def observe(self) -> SiteState | None:
        """The state, if it has changed; None if not. Raises what the client raises, but for CallError."""
        now, last = time.monotonic(), self._last
        thorough = last is None or now >= self._next_at
        self._code_at = now + CODE_EVERY
        if thorough:
            self._next_at = now + PROBE_EVERY
        digest, what = self.digest(thorough) if self.digest is not None else ("", "")
        if last is None or thorough:
            state = self._ask(digest, what)
        else:
            state = last._replace(digest=digest, what=what)
        if state == self._last:
            return None
        self._last = state
        return state

    def _ask(self, digest: str, what: str) -> SiteState:
        """The state as the site says it is now."""
        if self.fresh and self._last is not None:
            self.read_settings()
        code = None if self.masked else self.version
        return SiteState(
            self._environment, self._maintenance, code, self._database(), digest, what, self._background
        )

    def _database(self) -> str | None:
        try:
            wanted = {"select": ["version", "NOW() AS now"], "currentDomain": True}
            rows = self.client.api4("Domain", "get", wanted)
            self.clock.saw(rows[0].get("now"))
            return str(rows[0]["version"]) or None
        except (CallError, LookupError, TypeError):
            return self._last.database if self._last else None


def _is_on(value: object) -> bool | None:
    """Whether a setting is on. `inherit` is off: it leaves it to the CMS, which nobody asks here."""
    return None if value is None else is_on(value)
