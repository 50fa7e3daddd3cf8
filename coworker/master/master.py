"""The master: one loop that waits, collects, decides and performs (process rule 1)."""

from __future__ import annotations

import gc
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from coworker.claims import journal
from coworker.config import connection
from coworker.config.settings import Config
from coworker.config.table import NEED_RESTART
from coworker.errors import ConfigError, ExitCode, SetupError
from coworker.log import Log
from coworker.master import views
from coworker.master.children import Children
from coworker.master.effects import Effects
from coworker.master.recovery import recover
from coworker.master.reload import Reload
from coworker.master.site import REMOVED_PATIENCE, Site
from coworker.master.timers import Timers
from coworker.master.title import MasterTitle
from coworker.model import MasterPhase
from coworker.unix import children
from coworker.unix.poller import Poller
from coworker.unix.signals import SignalInbox, has_terminal

Phase = MasterPhase
LONGEST_WAIT = 1.0  # seconds, so that it is seen how long a pause was
SIGNALS = tuple(
    signal.Signals[f"SIG{name}"]
    for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU", "TSTP", "CONT", "CHLD")
)  # what the master handles
SUPERSEDED = "another HUP came"


class Master:
    """The master of all sites. `load`, for HUP, may raise ConfigError. `name` is shown in the title.

    `signals` collects SIGNALS. `outlives_terminal`: it has none, or was told not to end with it (nohup).
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        log: Log,
        name: str,
        signals: SignalInbox,
        *,
        outlives_terminal: bool,
    ) -> None:
        self.config = config
        self.timers = Timers()
        self.phase = Phase.RUNNING
        self.log = log.events
        self.sites: dict[str, Site] = {}
        self._load = load
        self._signals = signals
        self._log_file = log
        self._name = name
        self._title = MasterTitle(name)
        self._poller = Poller()
        self._handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: partial(self._on_stop, "TERM"),
            signal.SIGINT: partial(self._on_stop, "INT"),
            signal.SIGQUIT: partial(self._halt, "QUIT"),
            signal.SIGHUP: self._on_hup,
            signal.SIGUSR1: log.reopen,
            signal.SIGUSR2: partial(
                self._tell_sites, lambda site: site.dispatch.queues.looks.hasten(time.monotonic())
            ),
            signal.SIGTTIN: partial(self._tell_sites, lambda site: site.staff.change_count(1)),
            signal.SIGTTOU: partial(self._tell_sites, lambda site: site.staff.change_count(-1)),
            signal.SIGTSTP: self._on_tstp,
            signal.SIGCONT: self._on_cont,
            signal.SIGCHLD: lambda: self._children.reap(),  # noqa: PLW0108 - made below, with these signals
        }
        self._children = Children(self._poller, self.timers, SIGNALS)
        claims = config.coworker.state_dir / journal.DIRECTORY
        self._effects = Effects(self._children, self.timers, self.log, claims, config.log.looking)
        self._reload: Reload | None = None
        self._leaving: dict[int, Site] = {}  # sites that a reload removed, until they are empty
        self._outlives_terminal = outlives_terminal
        self._arrived: list[int] = []  # signals, to be handled in this turn
        self._paused = 0.0  # seconds for which we were stopped

    def run(self) -> ExitCode:
        """Run until everything has stopped, or until a crash, which is logged."""
        try:
            self._start()
            while self._all_sites():
                self._turn()
        except Exception:
            self.log.event("critical", "master_crashed", text=traceback.format_exc())
            return ExitCode.FAILED
        self.log.event("notice", "stopped")
        return ExitCode.OK

    def _start(self) -> None:
        self._title.show(())
        children.become_subreaper()
        self._poller.register(self._signals.fileno(), lambda: self._arrived.extend(self._signals.take()))
        for settings in self.config.sites:
            self.sites[settings.name] = Site(settings, self._effects)
        self._recover(self.sites)
        if self.config.coworker.duration:
            end = time.monotonic() + self.config.coworker.duration
            self.timers.set("duration", end, lambda _now: self._on_stop("duration"))
        self.log.event("notice", "started", settings=self._name, sites=",".join(self.sites))
        connection.tell(self.config, self.log.event)
        gc.collect()
        gc.freeze()  # what is there now is never collected: its pages stay shared with the children

    def _turn(self) -> None:
        """Wait, collect, decide. Decisions take effect at once, through send, spawn and signal."""
        wait = 0.0 if self._any_dirty() else max(0.0, self.timers.next_at - time.monotonic())
        wait = min(wait, LONGEST_WAIT)
        self._poller.wait(wait)
        paused, self._paused = Poller.stood_still - self._paused, Poller.stood_still
        if paused:
            self._on_pause(paused)
        if time.monotonic() >= self.timers.next_at:
            # We may have been stopped: what was said in time is read before it is overdue.
            self._poller.wait(0)
        arrived, self._arrived = self._arrived, []
        for number in arrived:
            self._handlers[number]()
        now = time.monotonic()
        self.timers.run(now)
        if self._any_dirty():
            for site in self._all_sites():
                if site.dirty:
                    site.decide(now)
            self._title.show([views.status(site) for site in self.sites.values()])
        self._forget_empty_sites()

    def _on_pause(self, seconds: float) -> None:
        """Move every deadline: all stood still (a paused container, a sleeping machine), tasks as well."""
        self.log.event("notice", "paused", seconds=round(seconds, 1), what="deadlines are later by as much")
        self.timers.delay(("child", "graceful"), seconds)
        for site in self._all_sites():
            site.deadlines.paused(site.roster, time.monotonic(), seconds)

    def _any_dirty(self) -> bool:
        return any(site.dirty for site in self._all_sites())

    def _all_sites(self) -> list[Site]:
        """The sites in force, then those that a reload tests or has removed."""
        tried = self._reload.sites.values() if self._reload else ()
        return [*{id(s): s for s in (*self.sites.values(), *tried, *self._leaving.values())}.values()]

    def _forget_empty_sites(self) -> None:
        for key, site in list(self._leaving.items()):
            if site.empty:
                site.forget()
                del self._leaving[key]
        if self.phase.ends:
            for name, site in list(self.sites.items()):
                if site.empty:
                    site.forget()
                    del self.sites[name]

    def _tell_sites(self, what: Callable[[Site], bool], sites: Iterable[Site] | None = None) -> None:
        """Do this to each site; it returns whether the site has something to decide because of it."""
        for site in list(self.sites.values() if sites is None else sites):
            site.happened(what(site))

    def _recover(self, sites: Mapping[str, Site]) -> None:
        """Have these sites take over what a former daemon left of them."""
        recoveries = {name: site.recovery for name, site in sites.items()}
        recover(self._effects.claims, recoveries, self.sites, self.log)

    def _on_stop(self, name: str) -> None:
        """Stop gracefully; a second time, end pipes now."""
        if self.phase.ends:
            self._halt(name)
            return
        self.log.event(
            "notice", "stopping", signal=name, graceful_seconds=self.config.coworker.graceful_timeout
        )
        now = time.monotonic()
        at = now + self.config.coworker.graceful_timeout
        self.timers.set("graceful", at, lambda _now: self._halt("graceful_timeout"))
        self._set_phase(Phase.STOPPING, now)

    def _halt(self, name: str) -> None:
        if self.phase is not Phase.HALTING:
            self.log.event("notice", "halting", signal=name)
            self._set_phase(Phase.HALTING, time.monotonic())

    def _set_phase(self, phase: MasterPhase, now: float) -> None:
        """Change the phase, here and at the sites; nothing else does. Raises IllegalMoveError."""
        self.phase = self.phase.to(phase)
        if not phase.ends:
            self._tell_sites(lambda site: site.resume(phase))
            return
        if self._reload is not None:
            self._reload.end("the daemon stops")
        self._tell_sites(lambda site: site.stop(phase, now), self._all_sites())

    def _on_hup(self) -> None:
        """Reload all sites, changed or not; a HUP that comes meanwhile, with a good file, replaces this.

        Ignored while stopping. When the terminal is gone, it is a graceful stop.
        """
        if self.phase.ends:
            return
        if not self._outlives_terminal and not has_terminal():
            self._on_stop("HUP: the terminal is gone")
            return
        try:
            config = self._load()
            Log.check(config.log.file)
        except (ConfigError, SetupError) as error:
            for problem in str(error).splitlines():
                self.log.event("error", "reload_refused", reason=problem)
            return
        if self._reload is not None:
            self._reload.end(SUPERSEDED)
        self.log.event("notice", "reloading", settings=self._name)
        sites = {
            s.name: self.sites.get(s.name) or Site(s, self._effects, on_trial=True) for s in config.sites
        }
        self._reload = Reload(config, sites, self._on_reload_end)
        self._reload.begin(self.sites, time.monotonic())

    def _on_reload_end(self, reload: Reload, reason: str | None) -> None:
        self._reload = None
        now = time.monotonic()
        if reason is not None:
            level = "notice" if reason == SUPERSEDED else "error"
            self.log.event(level, "reload_failed", reason=reason, what="old settings and workers go on")
            reload.drop_canaries(now)
            for name, site in reload.sites.items():
                if name not in self.sites:
                    self._dismiss(site, now)
            return
        self._adopt(reload, now)
        self.log.event("notice", "reloaded", sites=",".join(self.sites))

    def _adopt(self, reload: Reload, now: float) -> None:
        """Put the new settings into force; the ordinary decisions then replace the workers."""
        for name, site in self.sites.items():
            if name not in reload.sites:
                self._dismiss(site, now)
        old, self.config = self.config, reload.config
        new = {name: site for name, site in reload.sites.items() if name not in self.sites}
        self.sites = dict(reload.sites)
        self._recover(new)
        for settings in reload.config.sites:
            site = self.sites[settings.name]
            site.happened(site.adopt(settings, self.phase))
        self._effects.log_looking = self.config.log.looking
        if self.config.log != old.log:
            self._change_log(self.config)
        connection.tell(self.config, self.log.event)
        for key in NEED_RESTART:
            section, name = key.split(".")
            if getattr(getattr(old, section), name) != getattr(getattr(self.config, section), name):
                self.log.event("warning", "restart_needed", setting=key)

    def _dismiss(self, site: Site, now: float) -> None:
        """Stop a site that is not wanted any more; it has time to settle what it leaves."""
        self._tell_sites(lambda site: site.stop(Phase.STOPPING, now, REMOVED_PATIENCE), [site])
        self._leaving[id(site)] = site

    def _change_log(self, config: Config) -> None:
        try:
            self._log_file.change(config.log.level, config.log.format, config.log.file)
        except SetupError as error:
            self.log.event("error", "log_not_reopened", reason=str(error))

    def _on_tstp(self) -> None:
        if self.phase is Phase.RUNNING:
            self.log.event("notice", "quiet", what=f"nothing new is claimed until kill -CONT {os.getpid()}")
            self._set_phase(Phase.QUIET, time.monotonic())

    def _on_cont(self) -> None:
        if self.phase is Phase.QUIET:
            self.log.event("notice", "going_on")
            self._set_phase(Phase.RUNNING, time.monotonic())
