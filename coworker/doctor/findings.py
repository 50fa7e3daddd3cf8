"""What a check found, and how bad it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from coworker.text import one_line


class Mark(str, Enum):
    """How something is: as it should be, worth a thought, or a hindrance."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


SIGNS = {Mark.OK: "✓", Mark.WARNING: "!", Mark.BAD: "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result. `advice` says what to do, if anything; `site` "" is the daemon's."""

    mark: Mark
    check: str
    text: str
    advice: str = ""
    site: str = ""

    def __str__(self) -> str:
        where = f"{self.site}: " if self.site else ""
        text = one_line(" ".join(f"{where}{self.check}: {self.text}".split()))
        return f"{SIGNS[self.mark]} {text}" + (f" → {self.advice}" if self.advice else "")


Findings = Iterator[Finding]
Check = Callable[[], Findings]


def good(check: str, text: str) -> Finding:
    return Finding(Mark.OK, check, text)


def doubtful(check: str, text: str, advice: str = "") -> Finding:
    return Finding(Mark.WARNING, check, text, advice)


def bad(check: str, text: str, advice: str = "") -> Finding:
    return Finding(Mark.BAD, check, text, advice)
