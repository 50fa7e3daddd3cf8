"""One site in the master: `staff` has its children, `dispatch` their work; here each step is decided."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from coworker.claims.beginnings import Beginnings, beginnings_file
from coworker.claims.checkpoint import Checkpoint
from coworker.config.settings import SiteSettings
from coworker.ipc import messages as m
from coworker.master.control_orders import ControlOrders, Handler
from coworker.master.deadlines import Deadlines, Watchdog
from coworker.master.departures import Departures
from coworker.master.dispatch import Dispatch
from coworker.master.effects import Effects
from coworker.master.pipe_groups import PipeGroups
from coworker.master.recovery import Recovery
from coworker.master.reports import LifeReports, WorkReports
from coworker.master.roster import Roster
from coworker.master.site_health import SiteHealth
from coworker.master.staff import Staff
from coworker.model import ExitStatus, MasterPhase, RetireReason, Role, WorkerRecord
from coworker.model import WorkerState as S
from coworker.policy import matching

SETTLE_PATIENCE = 2.0  # seconds for settling at a stop (rule 12)
REMOVED_PATIENCE = 60.0  # the same for a site that a reload removed: nobody waits for it


@dataclass(slots=True)
class WindingUp:
    """The end of a site: control leaves last, when every claim is settled or time is up (rule 12)."""

    dispatch: Dispatch
    roster: Roster
    pipe_groups: PipeGroups
    patience: float = SETTLE_PATIENCE
    until: float = inf  # monotonic seconds: when time is up
    over: bool = False

    def begin(self, patience: float) -> None:
        """Leave `patience` seconds for settling, once the workers are gone."""
        self.patience, self.until = patience, inf

    def decide_control(self, now: float, boot_seconds: float) -> int:
        """Decide whether control is to live: 1, 0 or -1 as in Staff.reconcile. With -1 the site is `over`."""
        pending = self.dispatch.settler.settlements.pending
        working = self.roster.of(Role.WORKER) or self.pipe_groups.groups
        self.over = now >= self.until or not (working or pending or self.dispatch.handoff.groups)
        if self.over:
            return -1
        if working:
            return int(bool(self.dispatch.ledger.claims or pending))
        if self.until == inf:
            boot = 0.0 if self.roster.control() else 2 * boot_seconds
            self.until = now + self.patience + boot
        return 1


class Site:
    """The parts of one site, and the step that is decided when something has happened.

    `on_trial`: a reload wants to add this site; its only children are canaries until all have said hello.
    """

    def __init__(self, settings: SiteSettings, effects: Effects, *, on_trial: bool = False) -> None:
        log = effects.log.bind(site=settings.name)
        self.settings = settings
        self.effects = effects
        self.phase = MasterPhase.RUNNING
        self.dirty = True  # something happened that `decide` must deal with
        self.on_trial = on_trial
        self.roster = Roster(log)
        self.pipe_groups = PipeGroups()
        self.health = SiteHealth(settings, log, effects.rng)
        self.dispatch = Dispatch(settings, self.roster, log, effects.rng)
        self.checkpoint = Checkpoint(effects.claims, settings.name, log)
        self.recovery = Recovery(self.dispatch, self.checkpoint, self.pipe_groups, log)
        self.watchdog = Watchdog(effects, self.roster, self._time_is_up)
        self.deadlines = Deadlines(
            settings,
            self.dispatch.ledger,
            self.watchdog,
            lambda record: Beginnings(beginnings_file(effects.claims, record.life.pid, record.id)),
        )
        self.staff = Staff(settings, effects, self.roster, self.health, self.watchdog, self)
        self.control_orders = ControlOrders(
            effects, self.roster, self.dispatch, self.deadlines, self._time_is_up
        )
        self.departures = Departures(
            effects.claims,
            self.staff,
            self.dispatch,
            self.control_orders,
            self.pipe_groups,
            self.checkpoint,
            lambda: self.phase,
        )
        self.winding_up = WindingUp(self.dispatch, self.roster, self.pipe_groups)
        common = self.staff, self.dispatch, self.deadlines, self.watchdog
        self._handlers: dict[type, Handler] = {
            **WorkReports(*common, self.control_orders.barrier).handlers(),
            **LifeReports(*common, self.health, lambda: self.phase).handlers(),
            **self.control_orders.handlers(),
        }

    def happened(self, again: bool) -> None:
        """Take down whether a report, a timer or a signal gave reason to decide `again`."""
        self.dirty = self.dirty or again

    def heard(self, record: WorkerRecord, report: m.Report, now: float) -> None:
        """Take a report of a child. Raises IllegalMoveError for what cannot be."""
        again = self._handlers[type(report)](record, report, now)
        if isinstance(report, m.WorkFound):
            self.health.control_was_of_use(now)
        if again:
            self.happened(again=True)
        elif record.role is Role.CONTROL:
            self._await_look(now)

    def ended(self, record: WorkerRecord, status: ExitStatus, now: float) -> None:
        """Clear up after a child that has exited; everything that it said has been heard."""
        canary = record.life.canary
        self.departures.hear_unsaid(record, self.heard, now)
        cause = self.departures.gone(record, status, now)
        if canary:
            self.staff.on_canary(record, cause)
        self.happened(again=True)

    def _time_is_up(self, record: WorkerRecord, now: float) -> None:
        """Deal with a child that is late, or whose batch control is to inspect now."""
        if not self.deadlines.not_yet(record, now):
            self.watchdog.next_rung(record, now)
            self.dispatch.queues.looks.lost(record.id, now)
        self.happened(again=True)

    def garbled(self, record: WorkerRecord, reason: str) -> None:
        """Log that a child said what nobody understands."""
        record.life.log.event("critical", "bad_report", reason=reason)

    # --- what a signal or a reload wants; each returns whether to decide again ---

    def stop(self, phase: MasterPhase, now: float, patience: float = SETTLE_PATIENCE) -> bool:
        """STOPPING: all leave after their batch. HALTING: pipes are ended now. `patience`: see WindingUp."""
        self.phase = self.phase.to(phase)
        self.winding_up.begin(patience)
        if phase is MasterPhase.HALTING:
            for record in self.roster.of(Role.WORKER):
                self.staff.retire(record, RetireReason.SHUTDOWN, now, at_once=True)
        return True

    def resume(self, phase: MasterPhase) -> bool:
        """Go on, or be QUIET: then nothing more is claimed, not even by workers that are at work."""
        self.phase = self.phase.to(phase)
        if phase is MasterPhase.QUIET:
            self.staff.pause_all()
        return True

    def adopt(self, settings: SiteSettings, phase: MasterPhase) -> bool:
        """Take the settings of a reload: all children but the canary are of the old generation now."""
        self.settings = settings
        self.phase = self.phase.to(phase)
        self.on_trial = False
        self.dispatch.reconfigure(settings)
        self.deadlines.settings = settings
        self.health.adopt(settings)
        self.staff.adopt(settings)
        return True

    @property
    def empty(self) -> bool:
        """Whether nothing is left of the site, nor to be done there: the master may forget it, or go."""
        return self.winding_up.over and len(self.roster) == 0 and not self.pipe_groups.groups

    def forget(self) -> None:
        """Save and log what is open, which stays in the journal, and wake for this empty site no more."""
        self.dispatch.settler.save(self.checkpoint)
        self.dispatch.settler.log_open()
        for kind in ("site", "look"):
            self.effects.timers.cancel((kind, self))

    @property
    def may_look(self) -> bool:
        """Whether control may look for work: not in a pause, nor at a site that is down."""
        return self.phase is MasterPhase.RUNNING and not self.health.is_down

    @property
    def may_claim(self) -> bool:
        """Whether claims may be made: as `may_look`, and no hold, and everything old is settled."""
        return self.may_look and not self.recovery.active and not self.health.held

    def decide(self, now: float) -> None:
        """Decide one step: pipe groups, orders, staff, control; then set the timer for the next."""
        self.dirty = False
        stopping = self.phase.ends
        self.pipe_groups.tend(now, give_up=stopping)
        if self.health.tend(now):
            self.staff.bump_generation(outdated=self.staff.generation)
        if self.on_trial and not stopping:
            return
        control = self.winding_up.decide_control(now, self.staff.boot_seconds) if stopping else 1
        if stopping:  # also what a worker hands off now, at the end of its last batch
            self.dispatch.handoff.give_back_all()
        inspections = self.control_orders.inspections(now)
        self.dispatch.settler.save(self.checkpoint)  # before any child is told to go on
        free = [] if stopping else self.staff.free(now)
        self._assign(free, now)
        self._staff(now, control)
        self._ask_control(inspections, free, now)
        self.effects.timers.set(("site", self), self._next_at(now), lambda _now: self.happened(again=True))
        self._await_look(now)

    def _assign(self, free: list[WorkerRecord], now: float) -> None:
        workers = self.roster.workers()
        for record, order in self.dispatch.assign(free, now, claim=self.may_claim, workers=workers):
            self.roster.move(record, S.BUSY)
            self.effects.send(record, order)
            # Until the worker says Claiming, or RunSent.
            self.watchdog.set(record, now + self.settings.workers.boot_timeout)

    def _staff(self, now: float, control: int) -> None:
        """Boot and retire children, for the work that no free worker takes."""
        stopping = self.phase.ends
        wants = [] if stopping else self.dispatch.wants(now)
        if not self.may_claim:
            wants = [want for want in wants if want.handed]
        if wants and not self.staff.can_grow():
            self.staff.make_room(wants)
        workers = self.roster.workers
        numbers = [domain.number for domain in self.settings.domains]
        self.staff.reconcile(
            now,
            waiting=len(matching.unserved(workers(), wants)),
            workers_stop=stopping,
            control=control,
            boot_domain=lambda: matching.domain_to_boot(workers(), wants, numbers),
        )

    def _ask_control(self, inspections: list[m.Inspect], free: list[WorkerRecord], now: float) -> None:
        orders = self.control_orders
        orders.inspect(inspections, now)
        if self.settings.is_hybrid and self.may_claim:
            orders.fetch(self.staff.free(now), now)
        self.happened(orders.settle(now, in_haste=self.phase.ends or self.recovery.active))
        if self.may_look:
            orders.look(now, free=bool(free))

    def _await_look(self, now: float) -> None:
        """Set the timer for the next look, which needs no decision: an idle daemon only looks."""
        looks = self.dispatch.queues.looks
        if not looks.asked and self.phase is MasterPhase.RUNNING and looks.next_at > now:
            self.effects.timers.set(("look", self), looks.next_at, self._look)

    def _look(self, now: float) -> None:
        if self.may_look:
            self.control_orders.look(now, free=bool(self.staff.free(now)))

    def _next_at(self, now: float) -> float:
        """When something changes by itself (monotonic seconds)."""
        moments = [
            self.staff.next_at(now),
            self.dispatch.next_at(now, self.staff.boot_seconds),
            self.pipe_groups.next_at,
            self.health.due_at(),
            self.dispatch.settler.settlements.next_at(),
            self.control_orders.barrier.until,
            self.winding_up.until,
        ]
        return min((moment for moment in moments if moment > now), default=inf)
