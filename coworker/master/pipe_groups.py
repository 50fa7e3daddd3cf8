"""The pipes of children that are gone: what proves to be theirs is killed, and seen gone (rule 1)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from coworker.log import EventLog
from coworker.unix.children import signal_process
from coworker.unix.marks import Left, Marks
from coworker.unix.proc import Process, is_running, name_of

INTERVAL = 0.02  # seconds between looks at what is left of a pipe
PATIENCE = 10.0  # seconds until what survives KILL is logged, and a stop or start waits no longer
# Seconds for which a process may lack a proof. One that ends, or that just executes another program, shows no
# environment: that is no reason to take it for somebody else's.
DOUBT = 1.0
SPARED = "it is left alone; what the pipe had begun is watched until its row is gone or its lease ends"


@dataclass(slots=True, eq=False)
class PipeGroup:
    """The processes of a pipe, and the child that led it if that is not a child of this master.

    `on_gone(now, unseen)` is called when nothing of it runs any more, as far as can be seen; `unseen`: there
    are processes of which nobody can tell. The lines of `log` say whose pipe it was.
    """

    marks: Marks
    since: float  # monotonic seconds
    on_gone: Callable[[float, bool], None]
    log: EventLog
    child: Process | None = None
    former: bool = False  # a former daemon left it
    given_up: bool = False
    _doubted_at: float = inf  # monotonic seconds: when there was first nothing left but what is unproven
    _clear: bool = False  # nothing was left at the last look

    def look(self, now: float) -> bool | None:
        """KILL what is left. None while something is; then whether there are processes nobody can tell of.

        Each look kills anew: what is killed may have started another. What has left the group counts as gone
        when two looks in a row do not find it: one of them may fall into the moment in which it executes
        another program.
        """
        led = self.child is not None and is_running(self.child)
        if led and self.child is not None:
            signal_process(self.child.pid, signal.SIGKILL)
        try:
            left = self.marks.left()
        except OSError:  # no descriptor is free to read /proc: nothing is proved
            return None
        self.marks.kill(left)
        clear, self._clear = self._clear or not self.marks.everywhere, not (led or left.ours)
        if not (clear and self._clear):
            return None
        if not left.unproven:
            return False
        self._doubted_at = min(self._doubted_at, now)
        if now < self._doubted_at + DOUBT:
            return None
        self._name(left)
        return True

    def _name(self, left: Left) -> None:
        group = self.marks.leader.pid if self.marks.leader is not None else None
        who = ", ".join(name_of(pid) if pid else "a hidden one" for pid in left.unproven)
        self.log.event("warning", "process_spared", group=group, processes=who, what=SPARED)


class PipeGroups:
    """The pipes of one site that have not been seen gone."""

    def __init__(self) -> None:
        self.groups: list[PipeGroup] = []
        self._look_at = 0.0

    def add(self, group: PipeGroup, now: float) -> None:
        """KILL what is left of a pipe, and watch it."""
        group.look(now)
        self.groups.append(group)
        self._look_at = now

    def tend(self, now: float, *, give_up: bool) -> None:
        """KILL what is left, and let go of what is gone. `give_up`: do not wait for ever for the others."""
        if now < self._look_at:  # each look reads all of /proc
            return
        for group in list(self.groups):
            unseen = group.look(now)
            if unseen is not None:
                self.groups.remove(group)
                group.on_gone(now, unseen)
            elif now > group.since + PATIENCE and not group.given_up:
                group.given_up = True
                leader = group.marks.leader
                group.log.event("error", "pipe_not_killed", group=leader.pid if leader is not None else None)
        if give_up:
            self.groups = [group for group in self.groups if not group.given_up]
        if self.groups:  # ever more seldom: what cannot be killed now may last
            self._look_at = now + max(INTERVAL, 0.1 * (now - self.groups[-1].since))

    @property
    def next_at(self) -> float:
        """When to look again."""
        return self._look_at if self.groups else inf
