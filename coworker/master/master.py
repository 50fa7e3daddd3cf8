"""The master: one loop that waits, collects, decides and performs. It never blocks, never calls CiviCRM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from math import inf
from random import Random
from typing import Any

from coworker.child import child
from coworker.claims import journal
from coworker.config import connection
from coworker.config.settings import Config, SiteSettings
from coworker.config.table import NEED_RESTART
from coworker.errors import ConfigError, ExitCode, SetupError
from coworker.log import Log
from coworker.master.children import Children
from coworker.master.recovery import recover
from coworker.master.reload import Reload
from coworker.master.site import Site
from coworker.master.spawn import MASTER_SIGNALS, fork_child
from coworker.master.timers import Timers
from coworker.master.title import MasterTitle
from coworker.model import MasterPhase, WorkerRecord
from coworker.unix import children
from coworker.unix.poller import Poller
from coworker.unix.signals import SignalInbox

Phase = MasterPhase
SUPERSEDED = "another HUP came"


class Master:
    """`load` reads the settings again, for HUP; it raises ConfigError. `name` is what the title shows."""

    def __init__(self, config: Config, load: Callable[[], Config], log: Log, name: str) -> None:
        self.config = config
        self.timers = Timers()
        self.rng = Random()  # noqa: S311 - jitter, no secret
        self.phase = Phase.RUNNING
        self.log_looking = config.log.looking
        self.claims = config.coworker.state_dir / journal.DIRECTORY
        self.sites: dict[str, Site] = {}
        self._load = load
        self._log = log
        self._name = name
        self._title = MasterTitle(name)
        self._poller = Poller()
        self._links = Children(self._poller, self.timers)
        self.send, self.signal = self._links.send, self._links.signal  # see Effects
        self._last_id = 0
        self._reload: Reload | None = None
        self._leaving: dict[int, Site] = {}  # sites that a reload removed, until they are empty
        self._terminal = os.isatty(sys.stderr.fileno())
        self._arrived: list[int] = []  # signals, to be handled in this turn
        self._handlers: dict[int, Callable[[], None]] = {
            signal.SIGTERM: partial(self._on_stop, "TERM"),
            signal.SIGINT: partial(self._on_stop, "INT"),
            signal.SIGQUIT: partial(self._halt, "QUIT"),
            signal.SIGHUP: self._on_hup,
            signal.SIGUSR1: lambda: self._log.reopen(),  # noqa: PLW0108 - a reload replaces the log
            signal.SIGUSR2: self._on_usr2,
            signal.SIGTTIN: partial(self._on_count, 1),
            signal.SIGTTOU: partial(self._on_count, -1),
            signal.SIGTSTP: self._on_tstp,
            signal.SIGCONT: self._on_cont,
            signal.SIGCHLD: self._links.reap,
        }

    # --- the loop ---

    def run(self) -> ExitCode:
        """Until everything is stopped. Raises nothing that children would have to pay for."""
        self._start()
        try:
            while self._all_sites():
                self._turn()
        except Exception:
            self._log.event("critical", "master_crashed", text=traceback.format_exc())
            return ExitCode.FAILED
        self._log.event("notice", "stopped")
        return ExitCode.OK

    def _start(self) -> None:
        self._title.show(())
        children.become_subreaper()
        signals = SignalInbox(MASTER_SIGNALS)
        self._poller.register(signals.fileno(), lambda: self._arrived.extend(signals.take()))
        for settings in self.config.sites:
            self.sites[settings.name] = Site(settings, self)
        recover(self.claims, self.sites, self.sites, self._log.event)
        if self.config.coworker.duration:
            self.timers.set("duration", time.monotonic() + self.config.coworker.duration)
        self._log.event("notice", "started", settings=self._name, sites=",".join(self.sites))
        connection.tell(self.config, self._log.event)
        gc.collect()
        gc.freeze()  # what is there now is never collected: its pages stay shared with the children

    def _turn(self) -> None:
        """Wait, collect, decide; the decisions perform themselves through send, spawn and signal."""
        wait = 0.0 if self._any_dirty() else max(0.0, self.timers.next_at - time.monotonic())
        self._poller.wait(wait if wait < inf else None)
        if time.monotonic() >= self.timers.next_at:
            # We may have been stopped: what was said in time is read before it is overdue.
            self._poller.wait(0)
        arrived, self._arrived = self._arrived, []
        for number in arrived:
            self._handlers[number]()
        now = time.monotonic()
        for key in self.timers.due(now):
            self._on_timer(key, now)
        if self._any_dirty():
            for site in self._all_sites():
                if site.dirty:
                    site.decide(now)
            self._title.show(self.sites.values())
        self._forget_empty_sites()

    def _any_dirty(self) -> bool:
        return any(site.dirty for site in self._all_sites())

    def _all_sites(self) -> list[Site]:
        """Also those that a reload tries or has removed; the ones in force first."""
        tried = self._reload.sites.values() if self._reload else ()
        return [*{id(s): s for s in (*self.sites.values(), *tried, *self._leaving.values())}.values()]

    def _forget_empty_sites(self) -> None:
        for key, site in list(self._leaving.items()):
            if site.empty:
                site.forget()
                del self._leaving[key]
        if self.phase in (Phase.STOPPING, Phase.HALTING):
            for name, site in list(self.sites.items()):
                if site.empty:
                    site.forget()
                    del self.sites[name]

    def _on_timer(self, key: Any, now: float) -> None:
        if key == "duration":
            self._on_stop("duration")
        elif key == "graceful":
            self._halt("graceful_timeout")
        elif key == "backlog":
            self._links.flush_backlog()
        elif key == "reap":
            self._links.reap()
        else:
            self._on_site_timer(key, now)

    def _on_site_timer(self, key: tuple[str, Any], now: float) -> None:
        kind, subject = key
        if kind == "site":
            subject.dirty = True
        elif kind == "look":
            subject.look_due(now)
        else:
            for site in self._all_sites():
                if (record := site.staff.roster.get(subject)) is not None:
                    site.overdue(record, now)

    # --- signals ---

    def _on_stop(self, name: str) -> None:
        if self.phase in (Phase.STOPPING, Phase.HALTING):
            self._halt(name)
            return
        self._log.event(
            "notice", "stopping", signal=name, graceful_seconds=self.config.coworker.graceful_timeout
        )
        now = time.monotonic()
        self.timers.set("graceful", now + self.config.coworker.graceful_timeout)
        self._set_phase(Phase.STOPPING, now)

    def _halt(self, name: str) -> None:
        if self.phase is not Phase.HALTING:
            self._log.event("notice", "halting", signal=name)
            self._set_phase(Phase.HALTING, time.monotonic())

    def _set_phase(self, phase: MasterPhase, now: float) -> None:
        self.phase = phase
        if phase in (Phase.STOPPING, Phase.HALTING):
            if self._reload is not None:
                self._reload.fail("the daemon stops")
            for site in self._all_sites():
                site.stop(phase, now)
            return
        for site in self.sites.values():
            site.resume(phase)

    def _on_hup(self) -> None:
        if self.phase in (Phase.STOPPING, Phase.HALTING):
            return
        if self._terminal and not os.isatty(sys.stderr.fileno()):
            self._on_stop("HUP: the terminal is gone")
            return
        if self._reload is not None:
            self._reload.fail(SUPERSEDED)
        try:
            config = self._load()
            Log.check(config.log.file)
        except (ConfigError, SetupError) as error:
            for problem in str(error).splitlines():
                self._log.event("error", "reload_refused", reason=problem)
            return
        self._log.event("notice", "reloading", settings=self._name)
        sites = {s.name: self.sites.get(s.name) or Site(s, self, on_trial=True) for s in config.sites}
        self._reload = Reload(config, sites, self._on_reload_end)
        self._reload.begin(self.sites, time.monotonic())

    def _on_reload_end(self, reload: Reload, reason: str | None) -> None:
        self._reload = None
        now = time.monotonic()
        if reason is not None:
            level = "notice" if reason == SUPERSEDED else "error"
            self._log.event(level, "reload_failed", reason=reason, what="old settings and workers go on")
            reload.drop_canaries(now)
            for name, site in reload.sites.items():
                if name not in self.sites:
                    self._dismiss(site, now)
            return
        self._adopt(reload, now)
        self._log.event("notice", "reloaded", sites=",".join(self.sites))

    def _adopt(self, reload: Reload, now: float) -> None:
        """The new settings come into force; the ordinary reconcile step rolls the workers."""
        for name, site in self.sites.items():
            if name not in reload.sites:
                self._dismiss(site, now)
        old, self.config = self.config, reload.config
        new = {name: site for name, site in reload.sites.items() if name not in self.sites}
        self.sites = dict(reload.sites)
        recover(self.claims, new, self.sites, self._log.event)
        for settings in reload.config.sites:
            site = self.sites[settings.name]
            site.adopt(settings)
            site.phase = self.phase
        self.log_looking = self.config.log.looking
        if self.config.log != old.log:
            self._reopen_log(self.config)
        connection.tell(self.config, self._log.event)
        for key in NEED_RESTART:
            section, name = key.split(".")
            if getattr(getattr(old, section), name) != getattr(getattr(self.config, section), name):
                self._log.event("warning", "restart_needed", setting=key)

    def _dismiss(self, site: Site, now: float) -> None:
        site.remove(now)
        self._leaving[id(site)] = site

    def _reopen_log(self, config: Config) -> None:
        try:
            self._log = Log(config.log.level, config.log.format, config.log.file)
        except SetupError as error:
            self._log.event("error", "log_not_reopened", reason=str(error))

    def _on_usr2(self) -> None:
        for site in self.sites.values():
            site.look_now(time.monotonic())

    def _on_count(self, change: int) -> None:
        for site in self.sites.values():
            site.change_count(change)

    def _on_tstp(self) -> None:
        if self.phase is Phase.RUNNING:
            self._log.event("notice", "quiet", what=f"nothing new is claimed until kill -CONT {os.getpid()}")
            self._set_phase(Phase.QUIET, time.monotonic())

    def _on_cont(self) -> None:
        if self.phase is Phase.QUIET:
            self._log.event("notice", "going_on")
            self._set_phase(Phase.RUNNING, time.monotonic())

    # --- children ---

    def next_id(self) -> int:
        """See Effects."""
        self._last_id += 1
        return self._last_id

    def spawn(self, site: Site, record: WorkerRecord, settings: SiteSettings) -> None:
        """See Effects."""
        birth = child.Birth(record.id, record.slot, record.role, settings, self.claims, record.boot_domain)
        record.pid, channel = fork_child(partial(child.run, birth))
        self._links.add(site, record, channel)

    def wants(self, level: str) -> bool:
        """See Effects."""
        return self._log.wants(level)

    def log(self, level: str, event: str, /, **fields: Any) -> None:
        """See Effects."""
        self._log.event(level, event, **fields)
