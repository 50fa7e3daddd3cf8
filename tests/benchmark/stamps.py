"""The benchmark's tasks, and the marks they leave: which item was begun when.

The pipes import this as `benchmark.stamps`; it must stay light.
"""

import os
import struct
import time
from collections import Counter
from pathlib import Path

TASK = "benchmark.stamps:stamp"
_MARK = struct.Struct("=qq")  # the item, nanoseconds of CLOCK_MONOTONIC (the same for every process)
_files = {}


def stamp(ctx, path, seconds=0):
    """Leave a mark, a write(2) of 16 bytes, some microseconds; then sleep. Empty but for that by default."""
    fd = _files.get(path)
    if fd is None:
        fd = _files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, _MARK.pack(int(ctx.item_id), time.monotonic_ns()))
    if seconds:
        time.sleep(seconds)
    return True


class Stamps:
    """The marks in one file."""

    def __init__(self, path: Path):
        self.path = path

    def count(self):
        """How many tasks have been begun."""
        return self.path.stat().st_size // _MARK.size if self.path.exists() else 0

    def moments(self):
        """When the tasks began, in order, in seconds as time.monotonic counts. Fails if one ran twice."""
        marks = list(_MARK.iter_unpack(self.path.read_bytes()))
        twice = [item for item, times in Counter(item for item, _ in marks).items() if times > 1]
        if twice:
            raise RuntimeError(f"items that ran twice: {twice[:10]}")
        return sorted(nanoseconds / 1e9 for _, nanoseconds in marks)
