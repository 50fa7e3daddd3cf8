"""On which line of a TOML text a key stands: the standard parser does not tell.

It is a scanner, not a parser: the text was parsed already (or is about to be refused). Where it does not
understand something it goes on with the next line, and a key it has not seen is placed at its table.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from coworker.config.table import Key
from coworker.config.toml import loads

_BLANK = re.compile(r"[ \t\r]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[^\n]*\n?")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"""(?:"{0,2})'''
    r"""|'{3}.*?'{3}(?:'{0,2})"""
    r'''|"(?:\\.|[^"\\\n])*"'''
    r"""|'[^'\n]*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"""[^\s,\[\]{}#"'][^\s,\[\]{}#]*""")


class KeyPlace(NamedTuple):
    """A table header or a key, in the order of the text. Lines count from 1."""

    key: Key
    line: int


class Lines:
    """The places of all keys in one text."""

    def __init__(self, text: str) -> None:
        self.places = _Scanner(text).scan()
        self._exact: dict[Key, int] = {}
        self._below: dict[Key, int] = {}  # the first thing inside a table that has no header of its own
        for key, line in self.places:
            self._exact.setdefault(key, line)
            for length in range(1, len(key)):
                self._below.setdefault(key[:length], line)

    def of(self, key: Key) -> int:
        """Return the line of a key or table; of the nearest table around it if it was not found; else 1."""
        if key in self._exact:
            return self._exact[key]
        if key in self._below:
            return self._below[key]
        return self.of(key[:-1]) if key else 1

    def earlier(self, line: int) -> tuple[KeyPlace, KeyPlace] | None:
        """Return the last place up to `line`, and the place before it with the same key, if there is one."""
        known = [place for place in self.places if place.line <= line]
        for before in known[:-1]:
            if before.key == known[-1].key:
                return before, known[-1]
        return None


class _Scanner:
    """One pass over a text, which notes where keys stand."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.places: list[KeyPlace] = []
        self._newlines = [match.start() for match in re.finditer("\n", text)]

    def scan(self) -> list[KeyPlace]:
        table: Key = ()
        while self._skip(_BLANK_LINES) < len(self.text):
            if self.text[self.position] == "[":
                self.position += 2 if self.text.startswith("[[", self.position) else 1
                table = self._key(()) or table
            else:
                key = self._key(table)
                if key and self.text.startswith("=", self.position):
                    self.position += 1
                    self._value(key)
            self._skip(_REST_OF_LINE)
        return self.places

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return self.position

    def _key(self, table: Key) -> Key:
        """Record the dotted key at the position, below `table`, and go behind it. () if there is none."""
        self._skip(_BLANK)
        line = bisect_right(self._newlines, self.position) + 1
        parts: list[str] = []
        while match := _KEY_PART.match(self.text, self.position):
            parts.append(_plain(match.group()))
            self.position = match.end()
            self._skip(_BLANK)
            if not self.text.startswith(".", self.position):
                break
            self.position += 1
            self._skip(_BLANK)
        if parts:
            self.places.append(KeyPlace((*table, *parts), line))
            return (*table, *parts)
        return ()

    def _value(self, key: Key) -> None:
        """Skip a value, and record the keys of the inline tables in it. Ends at the end of its last line."""
        around: list[tuple[str, Key]] = []  # the brackets that are open, and the key outside each
        while self._skip(_BLANK_LINES if around else _BLANK) < len(self.text):
            character = self.text[self.position]
            start = self.position
            if character in "[{":
                around.append((character, key))
                self.position += 1
            elif character in "]}" and around:
                key = around.pop()[1]
                self.position += 1
            elif character == "," and around:
                key = around[-1][1]
                self.position += 1
            elif self._skip(_STRING) == start and self._skip(_SCALAR) == start:
                return  # the end of the line, a comment, or nonsense
            if character in "{," and around and around[-1][0] == "{":
                self._skip(_BLANK_LINES)
                key = self._key(around[-1][1]) or key
                self.position += self.text.startswith("=", self.position)


def _plain(part: str) -> str:
    """Return the part of a key without its quotes and escapes."""
    if part[0] not in "\"'":
        return part
    try:
        return str(loads(f"key = {part}")["key"])
    except ValueError:
        return part[1:-1]
