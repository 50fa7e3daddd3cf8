"""The log: every line is an event's name with fields. The only place that formats.

Only the master writes; children send their lines to it as notes, so that lines never mix and USR1 reopens
the file in one place.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from coworker.errors import SetupError

LEVELS = ("debug", "info", "notice", "warning", "error", "critical")
_RANK = {level: rank for rank, level in enumerate(LEVELS)}


class Log:
    """A stream, a threshold and a renderer. `file` "-" is standard error."""

    def __init__(self, level: str = "info", form: str = "auto", file: str = "-") -> None:
        self._file = file
        self._lost = 0  # lines that could not be written since the last one that could
        self._stream: TextIO = sys.stderr
        self._threshold = _RANK[level]
        self._open()
        self._form = form
        self._colours = form == "auto" and self._stream.isatty() and "NO_COLOR" not in os.environ
        self._logger = self._make_logger()

    def _open(self) -> None:
        if self._file == "-":
            return
        try:
            self._stream = Path(self._file).open("a", 1, "utf-8", "replace")  # noqa: SIM115
        except OSError as error:
            raise SetupError(_cannot_open(self._file, error)) from error

    def _make_logger(self) -> Any:
        structlog = _import_structlog()
        if self._form == "json":
            stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
            chain = [stamp, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)]
        else:
            stamp = structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S", utc=False)
            chain = [stamp, _on_one_line, self._console(structlog, self._colours)]
        return structlog.wrap_logger(structlog.WriteLogger(self._stream), processors=chain)

    @staticmethod
    def _console(structlog: Any, colours: bool) -> Any:
        styles = {**structlog.dev.ConsoleRenderer.get_default_level_styles(colours)}
        styles["notice"] = styles["info"]
        return structlog.dev.ConsoleRenderer(
            colors=colours,
            sort_keys=False,
            level_styles=styles,
            exception_formatter=structlog.dev.plain_traceback,
        )

    def wants(self, level: str) -> bool:
        return _RANK.get(level, 1) >= self._threshold

    def event(self, level: str, name: str, /, **fields: Any) -> None:
        """Log the event `name` (snake_case) with its fields; None values are left out."""
        if not self.wants(level):
            return
        kept = {key: value for key, value in fields.items() if value is not None}
        try:
            if self._lost:
                self._logger.msg("log_lines_lost", level="error", lines=self._lost)
                self._lost = 0
            self._logger.msg(name, level=level, **kept)
        except (OSError, ValueError):
            self._lost += 1  # a full disk or a closed terminal must not stop the daemon

    @staticmethod
    def check(file: str) -> None:
        """See that a log can be written there. Raises SetupError."""
        if file != "-":
            try:
                Path(file).open("a").close()
            except OSError as error:
                raise SetupError(_cannot_open(file, error)) from error

    def reopen(self) -> None:
        """After logrotate: go on in a new file of the same name. Keeps the old one if that fails."""
        if self._file == "-":
            return
        old = self._stream
        try:
            self._open()
        except SetupError as error:
            self.event("error", "log_not_reopened", reason=str(error))
            return
        self._logger = self._make_logger()
        with contextlib.suppress(OSError):
            old.close()
        self.event("notice", "logs_reopened")


def _cannot_open(file: str, error: OSError) -> str:
    return f"log.file = {file}: {error.strerror}; it must be a file that the user of the daemon may write"


def preload() -> None:
    """Import now what a Log needs later."""
    _import_structlog()


def _import_structlog() -> Any:
    """Structlog draws in rich for its console renderer, which costs a daemon 10 MB it never uses."""
    absent = [name for name in ("rich", "better_exceptions") if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: PLC0415
    finally:
        for name in absent:
            del sys.modules[name]
    return structlog


def _on_one_line(_logger: Any, _method: str, fields: dict[str, Any]) -> dict[str, Any]:
    """For people: short numbers, and no line ends or control characters."""
    for key, value in fields.items():
        if isinstance(value, float):
            fields[key] = f"{value:.3f}".rstrip("0").rstrip(".") or "0"
        elif isinstance(value, str) and not value.isprintable():
            printable = (part if part.isprintable() else ascii(part)[1:-1] for part in value.splitlines())
            fields[key] = " | ".join(part.strip() for part in printable)
    return fields
