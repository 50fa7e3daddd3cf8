"""Which processes prove to be a pipe's: numbers alone prove nothing, they are given anew (rule 1)."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import NamedTuple

from coworker.unix import proc
from coworker.unix.children import signal_process
from coworker.unix.proc import Process
from coworker.unix.process_group import group_is_empty, signal_group

TOKEN = "COWORKER_TOKEN"  # noqa: S105 - in the environment of a pipe; whatever it starts inherits it


class Left(NamedTuple):
    """What is left of a pipe. `led`: the leader is there, so the whole group is the pipe's.

    `unproven` are pids in the group of which nothing proves that they are the pipe's; 0: somebody hidden.
    """

    ours: list[Process]
    unproven: list[int]
    led: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells the processes of a pipe from all others.

    `leader` led its group, or None without one. `token` is in the environment of all of them, "" if nobody
    knows. `everywhere`: also those with the token that have left the group are meant. `below`: whatever
    descends from this process is ours, too; 0 if that proves nothing.
    """

    leader: Process | None
    token: str = ""
    everywhere: bool = False
    below: int = 0

    def left(self) -> Left:
        """Return what runs of the pipe now. Raises OSError if that cannot be seen."""
        group = self.leader.pid if self.leader is not None and self.leader.pid > 1 else 0
        there = group > 0 and not group_is_empty(group)
        if not there and not (self.everywhere and self.token):
            return Left([], [])
        seen = proc.everybody()
        if not seen:  # no Linux: a child of this daemon had this group a moment ago
            return Left([], [group]) if not self.below else Left([Process(group, 0)], [], led=True)
        who = next((each.process for each in seen if each.process.pid == group), None)
        if who is not None and who != self.leader:  # a number is given anew only once its group is empty
            there = False
        return self._sort(seen, group if there else 0, led=there and who is not None)

    def _sort(self, seen: list[proc.Seen], group: int, *, led: bool) -> Left:
        kin = {each.process for each in proc.descendants(self.below, seen)} if self.below else set()
        left = Left([], [], led)
        hidden = group > 0
        for each in seen:
            member = each.group == group > 0
            hidden = hidden and not member
            if not each.runs or each.process.pid == os.getpid():
                continue
            known = member and (led or each.process in kin)
            if known or ((member or self.everywhere) and self._carries(each.process.pid)):
                left.ours.append(each.process)
            elif member:
                left.unproven.append(each.process.pid)
        return left._replace(unproven=[0]) if hidden else left

    def _carries(self, pid: int) -> bool:
        return bool(self.token) and proc.in_environment(pid, f"{TOKEN}={self.token}")

    def kill(self, left: Left) -> None:
        """KILL what was found to be the pipe's, and nobody else."""
        if left.led and self.leader is not None:
            signal_group(self.leader.pid, signal.SIGKILL)
        for each in left.ours:
            if proc.process(each.pid) == each:
                signal_process(each.pid, signal.SIGKILL)
