"""What a child has claimed and not ended, in a file: for whoever starts after a KILL of everything.

One JSON array a line, appended; cut back to the first line whenever nothing is open (rule 10). It is written
before the claim is sent and before items are, so it knows at least as much as the site. It is not synced: it
survives the daemon, not a machine without power. `reading` reads it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from coworker.ipc.packing import pack
from coworker.model import Item, Lease, QueueInfo
from coworker.unix.proc import boot_id, process, this_process

DIRECTORY = "claims"  # below state_dir
VERSION = 3  # 2 called stopped_by_us "ours"; 1 named each item with its identity
MARK = "coworker claims"  # what every such file begins with
CUT = 8192  # bytes from which on it is cut back

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode


def child_file(directory: Path, pid: int, child: int) -> Path:
    """The journal of a child, by its pid and the number that the master gave it."""
    return directory / f"{pid}-{child}.claims"


class Journal:
    """The journal of one child. Raises OSError when it cannot be made, or when `claiming` cannot be written.

    What else cannot be written is left out: the intent to claim is there, and stays.
    """

    def __init__(self, path: Path, site: str, pipe: int, *, remote: bool = False) -> None:
        """`pipe` is the pid of its pipe's command, which leads a process group of its own."""
        header = {
            "site": site,
            "boot": boot_id(),
            "master": process(os.getppid()),
            "child": this_process(),
            "pipe": process(pipe),
            "remote": remote,
        }
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._open: set[str] = set()  # ids that have not ended
        self._waiting: list[str] = []  # lines to be written with the next
        self._head = self._size = 0
        self.behind = False  # the last line could not be written: what it says must be said otherwise
        self._write([MARK, VERSION, header])
        self._head = self._size

    def next_order(self) -> None:
        """The master gave another order: it has taken over what was reported before."""
        self._open.clear()
        self._cut()

    def claiming(self, info: QueueInfo, at: float) -> None:
        """A claim is about to be sent, at `at` (monotonic seconds)."""
        if not self._open and self._size > CUT:
            self._cut()
        self._write(["claiming", info, at, round(time.time(), 6)])

    def claimed(self, claim: str, items: list[Item], lease: Lease, *, begun: list[str]) -> None:
        """It was answered with these items; `begun` are run at once."""
        self._open.update(item.id for item in items)
        self._try_to_write(["took", claim, pack(items), list(lease), begun])

    def gave_nothing(self) -> None:
        """It was answered, and gave nothing."""
        self._waiting.append(_encode(["nothing"]))

    def handed(self, claim: str, info: QueueInfo, items: list[Item], leases: list[Lease]) -> None:
        """Items of another worker's claim are to be run here."""
        self._open.update(item.id for item in items)
        wall = time.time() - time.monotonic()
        self._try_to_write(["handed", claim, info, pack(items), leases, round(wall, 3)])

    def run_sent(self, claim: str, ids: list[str]) -> None:
        """These are being sent."""
        self._try_to_write(["began", claim, ids])

    def not_begun(self, claim: str, ids: list[str]) -> None:
        """They were not sent after all."""
        self._try_to_write(["notbegun", claim, ids])

    def flush(self) -> None:
        """Nothing may come for long: write what waits."""
        if self._waiting:
            self._try_to_write(["idle"])

    def ended(self, claim: str, ids: list[str]) -> None:
        """Their outcomes are known. Written with the next line: a finished row is found gone all the same."""
        self._open.difference_update(ids)
        self._waiting.append(_encode(["ended", claim, ids]))

    def _try_to_write(self, line: list[Any]) -> None:
        try:
            self._write(line)
            self.behind = False
        except OSError:
            self._waiting.append(_encode(line))
            self.behind = True

    def _write(self, line: list[Any]) -> None:
        lines = [*self._waiting, _encode(line), ""]
        data = "\n".join(lines).encode()
        written = os.write(self._fd, data)
        self._size += written
        if written < len(data):  # a full disk took the beginning
            os.ftruncate(self._fd, self._size - written)
            self._size -= written
            raise OSError(28, os.strerror(28))
        self._waiting.clear()

    def _cut(self) -> None:
        """Nothing is open: all but the first line is history."""
        self._waiting.clear()
        os.ftruncate(self._fd, self._head)
        self._size = self._head
