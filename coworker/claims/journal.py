"""What a child has claimed and not ended, in a file: for its master if it dies, and for the next start.

It has one JSON array a line. What is about to be sent is written before it is sent, so the file knows at
least as much as the site; what has ended may come with a later line. It is cut back to its first line at
each new order, and once it has grown while nothing is open (rule 10). It is not synced: it survives the
daemon, not a power cut.

`reading` reads it: a new kind of line needs its parser, and perhaps `departures.unsaid` and `recovery`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from coworker.ipc.packing import pack
from coworker.model import Item, Lease, QueueInfo
from coworker.unix.proc import boot_id, pid_namespace, process, this_process

DIRECTORY = "claims"  # below state_dir
VERSION = 3  # 2 called stopped_by_us "ours"; 1 named each item with its identity
MARK = "coworker claims"  # what every such file begins with
CUT = 8192  # bytes from which on the file is cut back

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, check_circular=False).encode


def child_file(directory: Path, pid: int, child: int) -> Path:
    """The path of a child's journal, by its pid and the number that the master gave it."""
    return directory / f"{pid}-{child}.claims"


class Journal:
    """The journal of one child. Raises OSError when it cannot be made, or when `claiming` cannot be written.

    What else cannot be written is left out: the intent to claim is there, and stays.
    """

    def __init__(self, path: Path, site: str, pipe: int, *, remote: bool = False, token: str = "") -> None:
        """`pipe` is the pid of the pipe's command, which leads a process group of its own; `token`: Marks."""
        header = {
            "site": site,
            "boot": boot_id(),
            "pids": pid_namespace(),
            "master": process(os.getppid()),
            "child": this_process(),
            "pipe": process(pipe),
            "token": token,
            "remote": remote,
        }
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._open: set[str] = set()  # ids that have not ended
        self._waiting: list[str] = []  # lines to be written with the next one
        self._head = self._size = 0
        self.behind = False  # the last line could not be written: what it says must be said otherwise
        self._write([MARK, VERSION, header])
        self._head = self._size

    def next_order(self) -> None:
        """Forget what is open: the master gave another order, so it has taken over all that was reported."""
        self._open.clear()
        self._cut()

    def claiming(self, info: QueueInfo, at: float) -> None:
        """Note that a claim is about to be sent, at `at` (monotonic seconds)."""
        if not self._open and self._size > CUT:
            self._cut()
        self._write(["claiming", info, at, round(time.time(), 6)])

    def claimed(self, claim: str, items: list[Item], lease: Lease, *, begun: list[str]) -> None:
        """Note that the claim brought these items, of which those with the ids `begun` run at once."""
        self._open.update(item.id for item in items)
        self._try_to_write(["took", claim, pack(items), list(lease), begun])

    def gave_nothing(self) -> None:
        """Note that the claim was answered and gave nothing, or that not a byte of it was sent."""
        self._waiting.append(_encode(["nothing"]))

    def handed(self, claim: str, info: QueueInfo, items: list[Item], leases: list[Lease]) -> None:
        """Note that items of another worker's claim are to be run here."""
        self._open.update(item.id for item in items)
        wall = time.time() - time.monotonic()
        self._try_to_write(["handed", claim, info, pack(items), leases, round(wall, 3)])

    def run_sent(self, claim: str, ids: list[str]) -> None:
        """Note that these items are being sent."""
        self._try_to_write(["began", claim, ids])

    def not_begun(self, claim: str, ids: list[str]) -> None:
        """Note that these items were not sent after all."""
        self._try_to_write(["notbegun", claim, ids])

    def flush(self) -> None:
        """Write what waits: nothing else may be written for long."""
        if self._waiting:
            self._try_to_write(["idle"])

    def ended(self, claim: str, ids: list[str]) -> None:
        """Note, with the next line, that outcomes are known: without it the rows are found gone."""
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
        """Drop all but the first line: nothing is open."""
        self._waiting.clear()
        os.ftruncate(self._fd, self._head)
        self._size = self._head
