"""In control: what makes long-lived PHP processes wrong, or says that nothing shall be claimed."""

from __future__ import annotations

import time
from collections.abc import Callable

from coworker.civi.connection import SiteClient
from coworker.errors import CallError
from coworker.ipc.messages import SiteState
from coworker.policy.site_health import LOOK_EVERY
from coworker.version import version_key

MAINTENANCE_SINCE = (6, 1)  # CiviCRM; before, the unknown setting would fail the whole call (contract D10)


class SiteProbe:
    """`digest` tells of the code, where its files are local: (digest, what changed since control booted)."""

    def __init__(
        self, client: SiteClient, version: str, digest: Callable[[], tuple[str, str]] | None, *, masked: bool
    ) -> None:
        """`masked`: the version is the database's own, as over HTTP: nobody sees the code's."""
        self._client = client
        self._code = None if masked else version
        self._version = version
        self._digest = digest
        self._next_at = 0.0
        self._last: SiteState | None = None
        self._environment: str | None = None
        self._maintenance: bool | None = None

    def seconds(self) -> float:
        """Until the next look is due."""
        return max(0.0, self._next_at - time.monotonic())

    def read_settings(self) -> None:
        """Settings are cached by each process: what they were at its boot is all that it will ever see."""
        known = ["environment"]
        if version_key(self._version) >= MAINTENANCE_SINCE:
            known.append("core_maintenance_mode")
        try:
            values = {
                row["name"]: row["value"] for row in self._client.api4("Setting", "get", {"select": known})
            }
        except (CallError, LookupError, TypeError):
            return  # not to be seen: then it holds nothing up
        self._environment = values.get("environment") or None
        self._maintenance = _is_on(values.get("core_maintenance_mode"))

    def look(self) -> SiteState | None:
        """What is to be reported: only what changed. Raises what the client raises, but for CallError."""
        self._next_at = time.monotonic() + LOOK_EVERY
        digest, what = self._digest() if self._digest is not None else ("", "")
        now = SiteState(self._environment, self._maintenance, self._code, self._database(), digest, what)
        if now == self._last:
            return None
        self._last = now
        return now

    def _database(self) -> str | None:
        try:
            rows = self._client.api4("Domain", "get", {"select": ["version"], "currentDomain": True})
            return str(rows[0]["version"]) or None
        except (CallError, LookupError, TypeError):
            return self._last.database if self._last else None


def _is_on(value: object) -> bool | None:
    """`inherit` leaves it to the CMS, which nobody asks here."""
    return None if value is None else str(value) in ("1", "True")
