"""The log: every line is the name of an event with fields. Nothing else formats lines.

Whoever logs has an `EventLog`, bound once to what all its lines have in common (site, worker, pid). Only
the master writes; children send it their lines as notes, so that lines never mix and USR1 reopens the file in
one place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TextIO

from coworker.errors import SetupError
from coworker.text import one_line, printable

LEVELS = ("debug", "info", "notice", "warning", "error", "critical")
_RANK = {level: rank for rank, level in enumerate(LEVELS)}


class EventLog(Protocol):
    """Where events go. `Log.events` is the real one: a bound logger of structlog."""

    def bind(self, **fields: Any) -> EventLog:
        """The same log for lines that all have these fields."""

    def wants(self, level: str) -> bool:
        """Whether the log shows this level."""

    def event(self, level: str, name: str, /, **fields: Any) -> None:
        """Log the event `name` (snake_case) with its fields; None values are left out."""


class _Silence:
    """An EventLog that nobody reads."""

    def bind(self, **_fields: Any) -> EventLog:
        return self

    def wants(self, _level: str) -> bool:
        return False

    def event(self, level: str, name: str, /, **fields: Any) -> None:
        pass


SILENCE: EventLog = _Silence()


class Log:
    """A stream, a threshold and a renderer, for the life of the daemon. `file` "-" is standard error.

    `events` and all that is bound from it follow when the file is reopened or the settings change.
    """

    def __init__(self, level: str = "info", form: str = "auto", file: str = "-") -> None:
        self._lost = 0  # lines that could not be written since the last one that could
        self._stream = _open(file)
        self._file, self._form, self._threshold = file, form, _RANK[level]
        self._processors: list[Any] = []
        self._render()
        self.events: EventLog = _bound_logger()(self, self._processors, {})

    def _render(self) -> None:
        """Choose the form of lines. The list is changed in place: all bound loggers share it."""
        structlog = _import_structlog()
        self._on_terminal = self._stream.isatty()
        if self._form == "json":
            stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
            chain = [
                _fit_for_machines,
                stamp,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ]
        else:
            colours = self._form == "auto" and self._on_terminal and "NO_COLOR" not in os.environ
            stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S", utc=False)
            chain = [_fit_for_people, stamp, _console(structlog, colours)]
        self._processors[:] = [_without_nones, *chain]

    def wants(self, level: str) -> bool:
        """Whether lines of this level are written."""
        return _RANK.get(level, 1) >= self._threshold

    def write(self, bound: Any, level: str, name: str, fields: dict[str, Any]) -> None:
        """Write a line for a bound logger.

        A full disk, a closed terminal or a value that cannot be written must not stop the daemon.
        """
        try:
            if self._lost:
                self.events._proxy_to_logger("msg", "log_lines_lost", level="error", lines=self._lost)  # type: ignore[attr-defined]  # noqa: SLF001
                self._lost = 0
            bound._proxy_to_logger("msg", name, level=level, **fields)  # noqa: SLF001 - structlog's own protocol
        except Exception:
            self._lost += 1

    def msg(self, line: str) -> None:
        """Write a rendered line, for structlog.

        On a terminal with `stty tostop` a write from the background would raise TTOU instead, which is an
        order to the master and would be logged in its turn; where TTOU is blocked the line is written.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,)) if self._on_terminal else None
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        finally:
            if before is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @staticmethod
    def check(file: str) -> None:
        """Make sure that a log can be written to this file. Raises SetupError."""
        if file != "-":
            _open(file).close()

    def change(self, level: str, form: str, file: str) -> None:
        """Go on with other settings. Raises SetupError, with nothing changed."""
        old = self._stream
        if file != self._file:
            self._stream = _open(file)
        self._file, self._form, self._threshold = file, form, _RANK[level]
        self._render()
        if self._stream is not old:
            _close(old)

    def reopen(self) -> None:
        """Go on in a new file of the same name, after logrotate. If that fails, the old one stays."""
        if self._file == "-":
            return
        old = self._stream
        try:
            self._stream = _open(self._file)
        except SetupError as error:
            self.events.event("error", "log_not_reopened", reason=str(error))
            return
        _close(old)
        self.events.event("notice", "logs_reopened")


@cache
def _bound_logger() -> Any:
    """The class of `Log.events`: structlog's bound logger with our levels. Made once structlog is wanted."""

    class BoundLog(_import_structlog().BoundLoggerBase):  # type: ignore[misc]
        """See EventLog."""

        def wants(self, level: str) -> bool:
            return bool(self._logger.wants(level))

        def event(self, level: str, name: str, /, **fields: Any) -> None:
            if self._logger.wants(level):
                self._logger.write(self, level, name, fields)

    return BoundLog


def _open(file: str) -> TextIO:
    """Open the stream of a log. Raises SetupError."""
    if file == "-":
        return sys.stderr
    try:
        return Path(file).open("a", 1, "utf-8", "replace")
    except OSError as error:
        what = "it must be a file that the user of the daemon may write"
        raise SetupError(f"log.file = {file}: {error.strerror}; {what}") from error


def _close(stream: TextIO) -> None:
    if stream is not sys.stderr:
        with contextlib.suppress(OSError):
            stream.close()


def preload() -> None:
    """Import now what a Log needs later."""
    _import_structlog()


def _import_structlog() -> Any:
    """Import structlog without rich, its console renderer's, which would cost a daemon 10 MB for nothing."""
    absent = [name for name in ("rich", "better_exceptions") if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: PLC0415
    finally:
        for name in absent:
            del sys.modules[name]
    return structlog


def _console(structlog: Any, colours: bool) -> Any:
    styles = {**structlog.dev.ConsoleRenderer.get_default_level_styles(colours)}
    styles["notice"] = styles["info"]
    return structlog.dev.ConsoleRenderer(
        colors=colours,
        sort_keys=False,
        level_styles=styles,
        exception_formatter=structlog.dev.plain_traceback,
    )


def _without_nones(_logger: Any, _method: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _fit_for_machines(_logger: Any, _method: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Make all text in the fields printable; line ends stay."""
    for key, value in fields.items():
        fields[key] = _printable(value)
    return fields


def _printable(value: Any) -> Any:
    """Make a value printable, and what is in it if it is a list or a dict."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): _printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(each) for each in value]
    return value


def _fit_for_people(_logger: Any, _method: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Make short numbers of long ones, and a single line of any text."""
    for key, value in fields.items():
        if isinstance(value, float):
            fields[key] = f"{value:.3f}".rstrip("0").rstrip(".") or "0"
        elif isinstance(value, str):
            fields[key] = one_line(value)
        elif isinstance(value, list | tuple | dict):
            fields[key] = one_line(str(value))
    return fields
