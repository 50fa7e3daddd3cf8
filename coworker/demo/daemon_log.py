"""The daemon's own account, from its JSON log: who works on what, who was replaced, how each task ended."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECYCLED = ("max_requests", "max_age")
_EVENTS = ("ready", "task_done", "gone")


@dataclass(slots=True)
class WorkerSeen:
    """What was last heard of a worker: the queue of its last task, and how many it has done."""

    queue: str = ""
    done: int = 0


class DaemonLog:
    """The daemon's log, read on from where reading last ended.

    `workers`: by number, those that are there. `outcomes`: by item id, one outcome for each try.
    """

    def __init__(self, path: Path) -> None:
        self.workers: dict[int, WorkerSeen] = {}
        self.recycled = 0
        self.outcomes: defaultdict[str, list[str]] = defaultdict(list)
        self._path = path
        self._position = 0

    def read(self) -> None:
        """Take in the lines that are new. A line that is still being written waits for the next time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            if event["event"] in _EVENTS and "worker" in event:  # control has no number
                self._take(event["event"], event["worker"], event)

    def _take(self, name: str, slot: int, event: dict[str, Any]) -> None:
        if name == "gone":
            self.workers.pop(slot, None)
            self.recycled += event["reason"] in RECYCLED
            return
        worker = self.workers.setdefault(slot, WorkerSeen())
        if name == "task_done":
            worker.queue = event["queue"]
            worker.done += 1
            self.outcomes[event["item"]].append(event["outcome"])
