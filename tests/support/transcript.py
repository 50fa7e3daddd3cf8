"""The format of the recorded sessions, as their own heads describe it.

'>' sent, '<' received, '!' end of the process, '#' note. \\x01 stands for that control byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "conformance" / "transcripts"
HEAD = 3  # lines that describe the file itself


class Kind(Enum):
    """What a line of a transcript says."""

    START = re.compile(r"# start the pipe with negotiation flags '(.*)'")
    CLOSE = re.compile(r"# client closed stdin; exit status (\d+)")
    END = re.compile(r"! end of file, exit status (\d+)")
    ROWS = re.compile(r"# rows now \(id, seconds until release, run_count\): ?(.*)")
    NOTE = re.compile(r"# (.*)")
    SEND = re.compile(r"> (.*)")
    RECEIVE = re.compile(r"< (.*)")


@dataclass(frozen=True)
class Step:
    """One line. `text` is what follows its mark."""

    number: int
    kind: Kind
    text: str


@dataclass(frozen=True)
class RecordedRow:
    """An item as a "rows now" note has it; `seconds` until its release, None for NULL."""

    id: int
    seconds: int | None
    run_count: int


def parse(text: str) -> list[Step]:
    """The steps of a transcript. Raises ValueError for a line that has no meaning."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        if number <= HEAD and line.startswith("#"):
            continue
        steps.append(_step(number, line))
    return steps


def _step(number: int, line: str) -> Step:
    for kind in Kind:
        found = kind.value.fullmatch(line)
        if found:
            return Step(number, kind, found[1].replace("\\x01", "\x01"))
    raise ValueError(f"line {number} has no meaning: {line!r}")


def parse_rows(text: str) -> list[RecordedRow]:
    rows = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        row_id, seconds, run_count = part.split()
        rows.append(RecordedRow(int(row_id), None if seconds == "NULL" else int(seconds), int(run_count)))
    return rows
