"""Whether a value is what its setting wants. Functions return the value or raise ValueError(message)."""

from __future__ import annotations

import json
import math
import os.path
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coworker.config.draft import Given, nearest
from coworker.config.table import Kind, Setting
from coworker.config.web import read_address

# Pairs of a site's settings: the first must not be above the second.
NOT_ABOVE = (("min_idle", "count"), ("poll_interval", "poll_interval_max"), ("max_memory", "hard_memory"))
NO_LIMIT_AT_ZERO = ("hard_memory",)
SITE_NAME = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*")

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?(\.?(alpha|beta|rc)[0-9]+)?")
_REFERENCE = re.compile(r"(\$?)\$\{([^}]*)\}")


def resolve(setting: Setting, given: Given, environ: Mapping[str, str]) -> Any:
    """Return the value as the program uses it: bool, int, float (seconds), str or Path."""
    if setting.kind is Kind.BOOLEAN:
        return _boolean(given)
    if setting.kind in (Kind.INTEGER, Kind.NUMBER):
        return _in_range(setting, _number(setting, given))
    return _text(setting, given, environ)


def show(value: Any) -> str:
    """Return a value as it would be written in the file, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (int, float)):
        return "a huge number" if abs(value) >= 1e18 else str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def allowed(setting: Setting) -> str:
    """Return what a value may be, in words: the range or the choices; "" for anything."""
    if setting.choices:
        return ", ".join(setting.choices)
    return "" if setting.low is None else f"{show(setting.low)} to {show(setting.high)}"


def _boolean(given: Given) -> bool:
    if given.is_text and (word := str(given.value).strip().lower()) in _WORDS:
        return _WORDS[word]
    if isinstance(given.value, bool):
        return given.value
    raise ValueError(f"must be true or false, not {show(given.value)}")


def _number(setting: Setting, given: Given) -> float:
    """Return an int for a whole number, else a float. Booleans and text are not numbers."""
    value = given.value
    if given.is_text:
        text = str(value).strip()
        if setting.kind is Kind.INTEGER and _WHOLE.fullmatch(text):
            return int(text)
        if setting.kind is Kind.NUMBER and _DECIMAL.fullmatch(text):
            return float(text)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value if setting.kind is Kind.INTEGER or abs(value) > 1e300 else float(value)
    elif isinstance(value, float) and setting.kind is Kind.NUMBER and not math.isnan(value):
        return value
    unit = f" of {setting.unit}" if setting.unit else ""
    raise ValueError(f"must be {setting.kind.value}{unit}, not {show(value)}")


def _in_range(setting: Setting, value: float) -> float:
    if setting.low is not None and setting.high is not None and not setting.low <= value <= setting.high:
        unit = f" {setting.unit}" if setting.unit else ""
        raise ValueError(f"{show(value)} is out of range, it must be {allowed(setting)}{unit}")
    return value


def _text(setting: Setting, given: Given, environ: Mapping[str, str]) -> str | Path:
    raw = given.value
    if not isinstance(raw, str):
        raise ValueError(f"must be text in quotes, not {'that' if setting.secret else show(raw)}")  # noqa: TRY004 - all mistakes are ValueErrors here
    # A shell line has its variables from the shell: so their values appear in no log and no process title.
    text = raw if setting.kind is Kind.COMMAND else interpolate(raw, environ)
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    if setting.kind is Kind.CHOICE and text not in setting.choices:
        name = nearest(text, setting.choices)
        hint = f', did you mean "{name}"?' if name else ""
        raise ValueError(f"{show(raw)} is none of {allowed(setting)}{hint}")
    if setting.kind is Kind.VERSION and not _VERSION.fullmatch(text):
        raise ValueError(f'{show(raw)} is not a version (like "6.4" or "5.51.0")')
    if setting.kind is Kind.URL:
        read_address(text)
    if setting.kind is Kind.FILE:
        return text if text == "-" else str(_path(text, given.base, environ))
    if setting.kind is Kind.PATH_ELSEWHERE:
        return Path(text)
    if setting.kind is Kind.PATH:
        return _path(text, given.base, environ)
    if setting.kind is Kind.DIRECTORY:
        return _directory(raw, _path(text, given.base, environ))
    return text


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace `${NAME}` by the environment's value; `$${` becomes `${`."""

    def replacement(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return match.group()[1:]
        if name in environ:
            return environ[name]
        what = "is not set in the environment" if name.isidentifier() else "names no environment variable"
        raise ValueError(f"${{{name}}} {what} (for a literal ${{ write $${{)")

    return _REFERENCE.sub(replacement, text)


def _path(text: str, base: Path | None, environ: Mapping[str, str]) -> Path:
    """Make a path absolute and expand `~`. Links and `..` stay: a link may be switched while we run."""
    if (text == "~" or text.startswith("~/")) and environ.get("HOME"):
        text = environ["HOME"] + text[1:]
    path = os.path.expanduser(text)  # noqa: PTH111 - Path.expanduser raises for an unknown user
    if path.startswith("~"):
        raise ValueError(f"{show(text)}: no such user")
    return Path(base or Path.cwd(), path).absolute()


def _directory(raw: str, path: Path) -> Path:
    try:
        is_directory = path.is_dir()
    except OSError as error:  # the directory above is closed to us
        raise ValueError(f"{show(raw)}: {(error.strerror or str(error)).lower()}") from error
    if not is_directory:
        raise ValueError(
            f"{show(raw)}: {'is not a directory' if path.exists() else 'directory does not exist'}"
        )
    return path
