"""The pipes of children that are gone: their process groups are killed and seen empty (rule 1)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from coworker.log import EventLog
from coworker.unix.children import signal_process
from coworker.unix.proc import Process, is_another, is_running
from coworker.unix.process_group import group_is_empty, signal_group

INTERVAL = 0.02  # seconds between checks whether a killed process group is empty
PATIENCE = 10.0  # seconds until a group that survives KILL is logged, and a stop or start waits no longer


@dataclass(slots=True, eq=False)
class PipeGroup:
    """The process group of a pipe, and the child that led it if that is not a child of this master.

    `on_empty(now)` is called when nothing of it runs any more. The lines of `log` say whose pipe it was.
    """

    group: int
    since: float  # monotonic seconds
    on_empty: Callable[[float], None]
    log: EventLog
    child: Process | None = None
    pipe: Process | None = None  # the group's leader, if its number may be another's by now
    former: bool = False  # a former daemon left it
    given_up: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it runs any more."""
        if self.child is not None and is_running(self.child):
            return False
        if self.group <= 1 or (self.pipe is not None and is_another(self.pipe)):
            return True
        return group_is_empty(self.group)

    def kill(self) -> None:
        """KILL what is left of the group and its child."""
        if self.child is not None and is_running(self.child):
            signal_process(self.child.pid, signal.SIGKILL)
        if self.group > 1 and not (self.pipe is not None and is_another(self.pipe)):
            signal_group(self.group, signal.SIGKILL)


class PipeGroups:
    """The groups of one site that have not been seen empty."""

    def __init__(self) -> None:
        self.groups: list[PipeGroup] = []
        self._check_at = 0.0

    def add(self, group: PipeGroup, now: float) -> None:
        """KILL what is left of the group, and watch it."""
        if not group.is_empty:
            group.kill()
        self.groups.append(group)
        self._check_at = now

    def tend(self, now: float, *, give_up: bool) -> None:
        """Let go of groups that are empty. `give_up`: do not wait for ever for the others."""
        if now < self._check_at:  # each check reads all of /proc
            return
        for group in list(self.groups):
            if group.is_empty:
                self.groups.remove(group)
                group.on_empty(now)
            elif now > group.since + PATIENCE and not group.given_up:
                group.given_up = True
                group.log.event("error", "pipe_not_killed", group=group.group)
        if give_up:
            self.groups = [group for group in self.groups if not group.given_up]
        if self.groups:  # ever more seldom: what cannot be killed now may last
            self._check_at = now + max(INTERVAL, 0.1 * (now - self.groups[-1].since))

    @property
    def next_at(self) -> float:
        """When to check again."""
        return self._check_at if self.groups else inf
