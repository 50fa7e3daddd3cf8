"""The gone: what they had claimed may be settled once nothing of their pipes runs any more (rule 1)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from coworker.unix.children import signal_process
from coworker.unix.proc import Process, is_another, is_running
from coworker.unix.process_group import group_is_empty, signal_group

INTERVAL = 0.02  # seconds between looks whether a killed process group is empty
PATIENCE = 10.0  # seconds, where somebody waits, for what cannot be killed


@dataclass(slots=True, eq=False)
class PipeGroup:
    """A process group, and the child that led its pipe if that is no child of this master.

    `bury` is called when it is empty. `who` names it in the log.
    """

    group: int
    since: float
    bury: Callable[[float], None]
    who: dict[str, Any]
    child: Process | None = None
    pipe: Process | None = None  # the group's leader, if its number may be another's by now
    given_up: bool = False

    @property
    def is_empty(self) -> bool:
        if self.child is not None and is_running(self.child):
            return False
        if self.group <= 1 or (self.pipe is not None and is_another(self.pipe)):
            return True
        return group_is_empty(self.group)

    def kill(self) -> None:
        if self.child is not None and is_running(self.child):
            signal_process(self.child.pid, signal.SIGKILL)
        if self.group > 1 and not (self.pipe is not None and is_another(self.pipe)):
            signal_group(self.group, signal.SIGKILL)


class PipeGroups:
    """Of one site. `log(level, event, **fields)`."""

    def __init__(self, log: Callable[..., None]) -> None:
        self.graves: list[PipeGroup] = []
        self._log = log
        self._look_at = 0.0

    def add(self, grave: PipeGroup, now: float) -> None:
        """KILL what is left of it."""
        if not grave.is_empty:
            grave.kill()
        self.graves.append(grave)
        self._look_at = now

    def tend(self, now: float, *, give_up: bool) -> None:
        """Bury those that are empty. `give_up`: somebody waits, and not for ever."""
        if now < self._look_at:  # each look reads all of /proc
            return
        for grave in list(self.graves):
            if grave.is_empty:
                self.graves.remove(grave)
                grave.bury(now)
            elif now > grave.since + PATIENCE and not grave.given_up:
                grave.given_up = True
                self._log("error", "pipe_not_killed", **grave.who, group=grave.group)
        if give_up:
            self.graves = [grave for grave in self.graves if not grave.given_up]
        if self.graves:  # ever more seldom: what cannot be killed now may last
            self._look_at = now + max(INTERVAL, 0.1 * (now - self.graves[-1].since))

    @property
    def next_at(self) -> float:
        return self._look_at if self.graves else inf
