"""New settings after HUP: canaries test them at each site before they are in force (process rule 8).

When all have said hello `Master` puts the settings in force, and the next decisions roll the other children.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from coworker.config.settings import Config, SiteSettings
from coworker.master.site import Site
from coworker.model import RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S


@dataclass
class Reload:
    """One reload under way. `sites` are those that will be in force, old ones and new ones, by name."""

    config: Config
    sites: dict[str, Site]
    on_end: Callable[[Reload, str | None], None]  # with the reason when it failed
    waiting: dict[int, Site] = field(default_factory=dict)  # canary → its site
    over: bool = False

    def begin(self, old: dict[str, Site], now: float) -> None:
        """Boot the canaries: one for each pipe of each site that is not down, and one for control's own way.

        Ends at once when there are none to wait for.
        """
        new = {settings.name: settings for settings in self.config.sites}
        for name, site in self.sites.items():
            if name in old and site.health.is_down:
                continue  # a site that is down has no veto
            site.staff.on_canary = self._on_canary
            for role, boot_domain in _tried(new[name]):
                try:
                    record = site.staff.boot(role, new[name], now, canary=True, boot_domain=boot_domain)
                except OSError as error:
                    self.end(f"site {name}: cannot fork: {error.strerror}")
                    return
                self.waiting[record.id] = site
        if not self.waiting:
            self.end(None)

    def _on_canary(self, record: WorkerRecord, error: str | None) -> None:
        """Note that a canary is ready, or that it failed."""
        if self.over or record.id not in self.waiting:
            return
        if error is not None:
            self.end(f"site {record.site}: {error}")
            return
        del self.waiting[record.id]
        if not self.waiting:
            self.end(None)

    def end(self, reason: str | None) -> None:
        """End, once; with a `reason` it has failed: the old settings and the old workers go on."""
        if not self.over:
            self.over = True
            self.on_end(self, reason)

    def drop_canaries(self, now: float) -> None:
        """Retire the canaries of a reload that failed."""
        for site in self.sites.values():
            for record in site.roster:
                if record.life.canary and record.life.state is not S.RETIRING:
                    site.staff.retire(record, RetireReason.RELOAD, now, at_once=True)


def _tried(settings: SiteSettings) -> Iterator[tuple[Role, int | None]]:
    """The role and domain of each canary of a site. Control's is needed where workers go another way."""
    yield Role.WORKER, None
    for domain in settings.domains:
        yield Role.WORKER, domain.number
    control, work = settings.channels
    if control != work:
        yield Role.CONTROL, None
