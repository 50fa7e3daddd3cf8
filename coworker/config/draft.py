"""What was given, by whom, before it is checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from coworker.config.table import Key


class Origin(NamedTuple):
    """Where a value comes from. Origins sort as problems are listed: files as read, the environment, -d."""

    rank: int
    line: int
    text: str  # "FILE:LINE", "environment NAME", "-d KEY=VALUE"


class Given(NamedTuple):
    """A value somebody gave."""

    key: Key
    value: Any
    origin: Origin
    base: Path | None = None  # what a relative path starts from; None: the current directory
    is_text: bool = False  # from the environment or -d: to be read as the setting's type


class Problem(NamedTuple):
    """A mistake at a place, listed as one line."""

    origin: Origin
    message: str

    def __str__(self) -> str:
        text = f"{self.origin.text}: {self.message}" if self.origin.text else self.message
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


@dataclass(slots=True)
class Draft:
    """Everything given so far. A later value of a key replaces the earlier one."""

    values: dict[Key, Given] = field(default_factory=dict)
    tables: dict[Key, Origin] = field(default_factory=dict)  # sites and patterns, in their order
    problems: list[Problem] = field(default_factory=list)
    doubtful: set[Key] = field(default_factory=set)  # incomplete by another mistake: don't complain twice

    @property
    def sites(self) -> list[str]:
        return [key[1] for key in self.tables if len(key) == 2]

    def patterns(self, site: str) -> list[str]:
        return self._below(site, "queues")

    def domains(self, site: str) -> list[str]:
        return self._below(site, "domains")

    def _below(self, site: str, what: str) -> list[str]:
        return [key[3] for key in self.tables if key[:3] == ("sites", site, what) and len(key) == 4]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a mistyped one most probably means."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
