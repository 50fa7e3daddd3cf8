"""Reading the files: `X.toml`, then `X.d/*.toml` in the order of their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from coworker.config.draft import Draft, Given, Origin, Problem, nearest
from coworker.config.locate import Lines
from coworker.config.table import BY_NAME, PLURALS, SECTIONS, Key, dotted, find
from coworker.config.toml import loads

_POSITION = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")
# What word processors and web pages make of quotes and blanks; what the parser says of a string without end.
_CURLY = re.compile("[\u2018-\u201f\u00ab\u00bb\u2039\u203a\u2032\u2033]")
_BLANK = re.compile("[\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]")
_NO_END = re.compile(r"Illegal character '\\[nr]|Unterminated string")
_TWICE = re.compile(r"twice|overwrite|[Dd]uplicate|redefine|mutate")


def read_files(path: Path, draft: Draft) -> tuple[Path, ...]:
    """Put everything the file and its drop-ins give into the draft, mistakes too. Returns what was read."""
    read: list[Path] = []
    try:
        drop_ins = _drop_ins(path)
    except OSError as error:
        drop_ins = []
        draft.problems.append(Problem(_origin(path.with_suffix(".d"), 1), _reason(error)))
        draft.doubtful.add(())
    for rank, file in enumerate([path, *drop_ins]):
        text = _text(file, rank, draft)
        data = None if text is None else _parse(text, file, rank, draft)
        if text is None or data is None:
            draft.doubtful.add(())
        else:
            _FileReader(file, rank, Lines(text), draft).table((), data)
            read.append(file.absolute())
    return tuple(read)


def _drop_ins(path: Path) -> list[Path]:
    """Return the `*.toml` of `X.d`, sorted. Hidden files are editors' own."""
    if path.suffix != ".toml":
        return []
    try:
        names = [entry.name for entry in path.with_suffix(".d").iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = sorted(name for name in names if name.endswith(".toml") and not name.startswith("."))
    return [path.with_suffix(".d") / name for name in names]


def _origin(file: Path, rank: int, line: int = 0, column: int = 0) -> Origin:
    return Origin(rank, line, ":".join([str(file), *(str(number) for number in (line, column) if number)]))


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _text(file: Path, rank: int, draft: Draft) -> str | None:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        draft.problems.append(Problem(_origin(file, rank), "no such file"))
        return None
    except OSError as error:
        draft.problems.append(Problem(_origin(file, rank), f"cannot be read: {_reason(error)}"))
        return None
    try:
        return raw.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        draft.problems.append(Problem(_origin(file, rank, line), "is not UTF-8"))
        return None


def _parse(text: str, file: Path, rank: int, draft: Draft) -> dict[str, Any] | None:
    """Parse a text, or return None and note a problem. The parser raises ValueErrors, too (huge integers)."""
    try:
        return loads(text)
    except RecursionError:
        draft.problems.append(Problem(_origin(file, rank), "arrays or tables are nested too deeply"))
    except ValueError as error:
        message = str(error)
        position = _POSITION.search(message)
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        if position and position[1]:
            line, column = int(position[1]), int(position[2])
        elif not position:
            line = column = 0
        message = _POSITION.sub("", message).strip()
        odd = _odd_character(text, line, column, in_string=bool(_NO_END.match(message)))
        column, message = odd or (column, _explained(message, text, line))
        draft.problems.append(Problem(_origin(file, rank, line, column), message))
    return None


def _odd_character(text: str, line: int, column: int, *, in_string: bool) -> tuple[int, str] | None:
    """Return the column of what is no quote or no blank where the parser stopped, and what to do about it.

    Where a string has no end, that is the last character of its line that looks like a quote.
    """
    content = text.split("\n")[line - 1] if line else ""
    if in_string:
        column = max((match.end() for match in _CURLY.finditer(content)), default=0)
    at = content[column - 1 : column]
    if _CURLY.match(at):
        return column, f"{at} (U+{ord(at):04X}) is a curly quote: write \" or '"
    if _BLANK.match(at):
        return column, f"U+{ord(at):04X} stands there, which is no blank in TOML: write a plain one, or none"
    return None


def _explained(message: str, text: str, line: int) -> str:
    """Put the parser's message into the words of an administrator, where those can be had."""
    if message == "Invalid value":
        return "invalid value (text needs quotes)"
    twice = Lines(text).earlier(line) if _TWICE.search(message) else None
    if not twice:
        return message[:1].lower() + message[1:]
    before, again = twice
    what = "two sites of one name" if len(again.key) == 2 and again.key[0] == "sites" else "given twice"
    return f"{dotted(again.key)}: {what}, the other is at line {before.line}"


class _FileReader:
    """What walks through one parsed file and puts its values into the draft."""

    def __init__(self, file: Path, rank: int, lines: Lines, draft: Draft) -> None:
        self.file = file
        self.rank = rank
        self.lines = lines
        self.draft = draft

    def table(self, key: Key, data: dict[str, Any]) -> None:
        """Take in a table that is known: its keys are settings or known tables."""
        for name, value in data.items():
            child = (*key, name)
            if is_section(child):
                self._section(child, value)
            elif find(child):
                self.draft.values[child] = Given(child, value, self._at(child), self.file.absolute().parent)
            else:
                self._unknown(child, value)

    def _at(self, key: Key) -> Origin:
        return _origin(self.file, self.rank, self.lines.of(key))

    def _problem(self, key: Key, message: str) -> None:
        self.draft.problems.append(Problem(self._at(key), f"{dotted(key)}: {message}"))

    def _section(self, key: Key, value: Any) -> None:
        if len(key) == 3 and key[2] == "workers" and not isinstance(value, dict):
            key, at = (*key, "count"), key  # the short form
            self.draft.values[key] = Given(key, value, self._at(at), self.file.absolute().parent)
        elif not isinstance(value, dict):
            self.draft.doubtful.add(() if key == ("sites",) else key)
            self._problem(key, f"must be a table{_table_hint(key)}")
        else:
            if len(key) == 2 and key[0] == "sites":
                self._site(key)
            elif len(key) == 4:
                self.draft.tables.setdefault(key, self._at(key))
            self.table(key, value)

    def _site(self, key: Key) -> None:
        other = self.draft.tables.setdefault(key, self._at(key))
        if other.rank != self.rank:
            self._problem(key, f"two sites of one name, the other is at {other.text}")

    def _unknown(self, key: Key, value: Any) -> None:
        what = "section" if isinstance(value, dict) else "setting"
        siblings = _children(key[:-1])
        name = nearest(key[-1], siblings) or _elsewhere(key)
        if name:
            hint = f', did you mean "{name}"?'
        elif len(key) == 3 and isinstance(value, dict):
            whole = f'[sites."{key[1]}.{key[2]}"]'
            hint = f"; if the dot is part of the site's name, write {whole}"
        else:
            hint = f"; known here: {', '.join(siblings)}"
        if len(key) == 3 or (len(key) == 1 and name == "sites"):
            self.draft.doubtful.add(key[:-1])
        self._problem(key, f"unknown {what}{hint}")


def is_section(key: Key) -> bool:
    """Whether a table may stand at this key."""
    if key[:1] != ("sites",):
        return len(key) == 1 and key[0] in SECTIONS
    if len(key) in (3, 4) and key[2] in PLURALS:
        return True
    return len(key) <= 2 or (len(key) == 3 and key[2] == "workers")


def _table_hint(key: Key) -> str:
    if key[0] != "sites":
        return f": [{key[0]}]"
    if len(key) <= 2:
        return ": [sites.NAME]"
    example = '"PATTERN"' if key[2] == "queues" else PLURALS[key[2]]
    return f": [{dotted(key[:3])}.{example}]"


def _children(key: Key) -> list[str]:
    """Return the names that may stand in a table."""
    if not key:
        return ["coworker", "log", "workers", "sites"]
    section = {2: "sites.NAME", 3: "workers"}.get(len(key), key[0])
    if len(key) == 4:
        section = f"sites.NAME.{key[2]}.{PLURALS[key[2]]}"
    names = [setting.field for setting in BY_NAME.values() if setting.section == section]
    return [*names, *PLURALS] if len(key) == 2 else names


def _elsewhere(key: Key) -> str | None:
    """Find a setting of this very name that belongs into another table of the same site, or of the file."""
    if len(key) > 2 and find((*key[:2], "workers", key[-1])):
        return dotted((*key[:2], "workers", key[-1]))
    found = [name for name in BY_NAME if name.rpartition(".")[2] == key[-1]]
    return found[0].replace("NAME", key[1]) if len(key) > 2 and found else found[0] if found else None
