"""The benchmark's task, and the marks it leaves: which item ran when.

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


def stamp(ctx, path):
    """An empty task but for one mark: a write(2) of 16 bytes, some microseconds."""
    fd = _files.get(path)
    if fd is None:
        fd = _files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, _MARK.pack(int(ctx.item_id), time.monotonic_ns()))
    return True


class Stamps:
    """The marks in one file."""

    def __init__(self, path: Path):
        self.path = path

    def count(self):
        """How many tasks have run."""
        return self.path.stat().st_size // _MARK.size if self.path.exists() else 0

    def moments(self):
        """When the tasks ran, in order, in seconds as time.monotonic counts. Fails if one ran twice."""
        marks = list(_MARK.iter_unpack(self.path.read_bytes()))
        twice = [item for item, times in Counter(item for item, _ in marks).items() if times > 1]
        if twice:
            raise RuntimeError(f"items that ran twice: {twice[:10]}")
        return sorted(nanoseconds / 1e9 for _, nanoseconds in marks)
