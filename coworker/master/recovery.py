"""After a KILL: end what is left of the former daemon, then have settled what it had claimed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coworker.claims import reading as recovery
from coworker.claims.checkpoint import Checkpoint
from coworker.master.dispatch import Dispatch
from coworker.master.pipe_groups import PipeGroup, PipeGroups
from coworker.master.reopening import reopen

if TYPE_CHECKING:
    from coworker.master.site import Site

SLACK = 10.0  # seconds beyond its own time-out that a claim may have taken


class Recovery:
    """Of one site. Its claims go through the dispatch's ledger, as all do."""

    def __init__(
        self, dispatch: Dispatch, checkpoint: Checkpoint, pipe_groups: PipeGroups, log: Callable[..., None]
    ) -> None:
        self._dispatch, self._checkpoint, self._pipe_groups, self._log = (
            dispatch,
            checkpoint,
            pipe_groups,
            log,
        )
        self._remains: list[recovery.Remains] = []  # to be read when their writers are gone

    @property
    def active(self) -> bool:
        """Whether nothing may be claimed yet: settled first, claimed then (design, section 4, rule 10)."""
        waiting = self._remains and any(not grave.given_up for grave in self._pipe_groups.graves)
        return bool(waiting) or self._dispatch.settler.settlements.recovering()

    def begin(self, remains: Sequence[recovery.Remains], now: float) -> None:
        """KILL the former children and their pipes."""
        self._remains = [recovery.put_away(each) for each in remains]
        for each in remains:
            group = each.pipe.pid if each.pipe is not None else 0
            who = {"role": "former", "pid": each.child.pid if each.child is not None else None}
            self._pipe_groups.add(PipeGroup(group, now, self._exhume, who, each.child, each.pipe), now)

    def _exhume(self, now: float) -> None:
        """One of them is gone. When all are, their journals say what is open."""
        if not self._remains or any(grave.bury == self._exhume for grave in self._pipe_groups.graves):
            return
        paths = [each.path for each in self._remains]
        self._remains = []
        found = recovery.read(paths, self._log)
        reopen(
            found,
            self._dispatch.ledger,
            self._dispatch.settler,
            now=now,
            patience=self._dispatch.settings.workers.boot_timeout + SLACK,
        )
        self._checkpoint.supersede(*paths)
        items = sum(len(claim.entries) for claim in self._dispatch.ledger.claims.values())
        if items or found.lost:
            lost = len(found.lost) or None
            self._log("warning", "recovering", items=items, claims_unanswered=lost, reason=recovery.CAUSE)


def recover(
    directory: Path, sites: Mapping[str, Site], known: Collection[str], log: Callable[..., None]
) -> None:
    """What a former daemon left of `sites` goes to them; what is of none of those `known` is named."""
    remains = recovery.scan(directory, log)
    for name, site in sites.items():
        site.recovery.begin([each for each in remains if each.site == name], time.monotonic())
    for each in remains:
        if each.site not in known:
            what = "what it had claimed stays leased until the leases end, or the site is back"
            log("warning", "claims_of_no_site", site=each.site, file=str(each.path), what=what)
