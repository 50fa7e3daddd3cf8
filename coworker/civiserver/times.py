"""Times as APIv4 reads and writes them: local to the site, whole seconds (contract A4).

Inside, a time is an integer of seconds since the epoch, as MySQL's TIMESTAMP is: summer time does no harm.
"""

from __future__ import annotations

import re
import time

_ABSOLUTE = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:\.\d+)?)?)?(?=$|\s)",
)
_STEP = re.compile(
    r"([+-]?)\s*(\d+)\s*(sec|min|hour|day|week|fortnight|month|year)(?:ond|ute)?s?\b(\s+ago\b)?",
    re.IGNORECASE,
)
_SECONDS = {"sec": 1, "min": 60, "hour": 3600}
# steps of the calendar: (position in struct_time, how many of it)
_CALENDAR = {"day": (2, 1), "week": (2, 7), "fortnight": (2, 14), "month": (1, 1), "year": (0, 1)}


def parse_time(text: str, now: int) -> int:
    """Return seconds since the epoch for what strtotime would make of the text.

    Understood: `now`, `YYYY-MM-DD [HH:MM[:SS]]`, `YYYYMMDDHHMMSS`, `@SECONDS`, today, tomorrow, yesterday,
    and steps behind any of them or alone: `+7200 seconds`, `-5 seconds`, `1 hour ago`. Raises ValueError for
    anything else.
    """
    rest = text.strip()
    base, rest = _take_base(rest, now)
    position = 0
    for step in _STEP.finditer(rest):
        if rest[position : step.start()].strip():
            break
        base = _add(base, step)
        position = step.end()
    if rest[position:].strip() or (not text.strip()):
        raise ValueError(f"{text!r} is not a time")
    return base


def format_time(epoch: int | None) -> str | None:
    """Write `YYYY-MM-DD HH:MM:SS`, the shape in which APIv4 shows a time."""
    return None if epoch is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


def format_compact(epoch: int | None) -> str | None:
    """Write `YYYYMMDDHHMMSS`, as create and update echo a time (transcripts, "extend a lease")."""
    return None if epoch is None else time.strftime("%Y%m%d%H%M%S", time.localtime(epoch))


def _take_base(rest: str, now: int) -> tuple[int, str]:
    for word, days in (("now", None), ("today", 0), ("tomorrow", 1), ("yesterday", -1)):
        if re.match(rf"{word}\b", rest, re.IGNORECASE):
            return (now if days is None else _midnight(now, days)), rest[len(word) :]
    stamp = re.match(r"@(-?\d+)(?=$|\s)", rest)
    if stamp:
        return int(stamp[1]), rest[stamp.end() :]
    found = _ABSOLUTE.match(rest)
    if found:
        parts = [int(part or 0) for part in found.groups()]
        return _to_epoch(parts), rest[found.end() :]
    return now, rest


def _add(base: int, step: re.Match[str]) -> int:
    sign, digits, unit, ago = step.groups()
    amount = int(digits) * (-1 if sign == "-" else 1) * (-1 if ago else 1)
    unit = unit.lower()
    if unit in _SECONDS:
        return base + amount * _SECONDS[unit]
    position, factor = _CALENDAR[unit]
    parts = list(time.localtime(base)[:6])
    parts[position] += amount * factor
    return _to_epoch(parts)


def _midnight(now: int, days: int) -> int:
    year, month, day = time.localtime(now)[:3]
    return _to_epoch([year, month, day + days, 0, 0, 0])


def _to_epoch(parts: list[int]) -> int:
    """Carry what overflows (day 32, month 13), as mktime and PHP do."""
    year, month, day, hour, minute, second = parts
    years, month = divmod(month - 1, 12)
    try:
        return int(time.mktime((year + years, month + 1, day, hour, minute, second, 0, 0, -1)))
    except (OverflowError, ValueError) as error:
        raise ValueError("time out of range") from error
