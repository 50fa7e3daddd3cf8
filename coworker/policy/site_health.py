"""When nothing may be claimed at a site although it answers (contract A6, D10): values in, reasons out."""

from __future__ import annotations

from typing import NamedTuple

from coworker.version import age_key

CODE_STABLE_AFTER = 10.0  # seconds for which code must have stayed as it is: a deployment takes its time
FRESH_EVERY = 120.0  # seconds after which control is replaced, whatever it may have missed
FRESH_ELSEWHERE = 60.0  # the same where each process answers with the settings of its boot
FRESH_WHILE_HELD = 15.0  # the same while a hold may end any moment


class Observed(NamedTuple):
    """What is known of a site. Versions are as the site writes them; None: it cannot be seen."""

    environment: str | None
    maintenance: bool | None
    code: str | None
    database: str | None


class Hold(NamedTuple):
    """A reason to claim nothing. `passing`: it will probably end soon."""

    reason: str
    passing: bool


def holds(seen: Observed, *, allow_non_production: bool) -> list[Hold]:
    """The holds of a site; [] if nothing forbids to claim."""
    found = []
    if seen.environment not in (None, "Production") and not allow_non_production:
        what = f"the site's environment is {seen.environment}, not Production"
        why = "a copy must not work the original's queues (allow_non_production = true if it may)"
        found.append(Hold(f"{what}: {why}", passing=False))
    if seen.maintenance:
        found.append(Hold("the site is in maintenance mode", passing=True))
    if seen.code and seen.database and seen.code != seen.database:
        what = f"its code is {seen.code}, its database {seen.database}"
        found.append(Hold(f"an upgrade of the site is pending: {what}", passing=True))
    return found


def code_hold(what: str) -> Hold:
    """The hold while the site's code is being changed; `what`: the first path that has."""
    # Not "passing": its end is seen in the files, which needs no control that reads settings afresh.
    return Hold(f"its code is being changed: {what}" if what else "its code is being changed", passing=False)


def is_stale(seen: Observed) -> bool:
    """Whether the process that saw this was booted before an upgrade: the database is newer than its code."""
    return bool(seen.code and seen.database and age_key(seen.database) > age_key(seen.code))
