"""Values out of files: a file is input, so the type and the range of each value are checked.

What passes here breaks nothing behind it: not the arithmetic of times, not a signal to a process, not a
message. The functions raise what reading garbage raises (`reading.BROKEN`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from math import isfinite
from typing import Any, TypeVar

from coworker.ipc.packing import unpack, unpack_queue, unpack_unsettled
from coworker.model import Item, QueueInfo, Unsettled
from coworker.unix.proc import Process

T = TypeVar("T")
MOST_PIDS = 1 << 22  # the kernel's own limit
MOST = (1 << 31) - 1  # a whole number of the site
LARGEST = (1 << 63) - 1  # an id, or a number of clock ticks
LONGEST = 1e9  # seconds, 31 years, before or after the machine was booted
LATEST = 5e9  # seconds since 1970: in the year 2128
_TOKEN = re.compile(r"[0-9a-f]{32}|")


def text(value: Any) -> str:
    """Any text: where it is shown, it is made printable."""
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is not a text")
    return value


def site(value: Any) -> str:
    """The name of a site, which settings files can have: they have no halves of characters."""
    text(value).encode()
    return str(value)


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{_shown(value)} is neither true nor false")
    return value


def whole(value: Any, least: int = -LARGEST, most: int = LARGEST) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{_shown(value)} is not a whole number between {least} and {most}")
    return value


def seconds(value: Any, least: float = -LONGEST, most: float = LONGEST) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not isfinite(value) or not least <= value <= most:
        raise ValueError(f"{_shown(value)} is not a number between {least:.0f} and {most:.0f}")
    return float(value)


def moment(value: Any) -> float:
    """A time in seconds since 1970."""
    return seconds(value, 0.0, LATEST)


def release_time(value: Any) -> str | None:
    """A time in the site's clock, as of a row; "" or None if it is not known."""
    if value:
        datetime.fromisoformat(text(value))
    return None if value is None else text(value)


def values(value: Any, of: Callable[[Any], T]) -> list[T]:
    """A list, each entry of which is `of` what it has to be."""
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} is not a list")
    return [of(each) for each in value]


def table(value: Any, of: Callable[[Any], T]) -> dict[str, T]:
    """An object of JSON, each value of which is `of` what it has to be."""
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is not an object")
    return {text(name): of(each) for name, each in value.items()}


def process(value: Any) -> Process:
    pid, start = values(value, whole)
    return Process(whole(pid, 0, MOST_PIDS), whole(start, 0))


def token(value: Any) -> str:
    if not _TOKEN.fullmatch(text(value)):
        raise ValueError(f"{_shown(value)} is not a token")
    return str(value)


def ids(value: Any) -> list[str]:
    """Ids of items, none of them twice. Older files have numbers among them."""
    found = values(value, lambda each: str(each) if type(each) is int else text(each))
    if len(set(found)) < len(found):
        raise ValueError(f"{_shown(value)} has an id twice")
    return found


def items(value: Any) -> list[Item]:
    """Items as `packing` packs them."""
    for contact, domain, packed in values(value, list):
        _ = [each is None or whole(each) for each in (contact, domain)]
        values(packed, text)
    return unpack(value)


def queue(value: Any) -> QueueInfo:
    info = unpack_queue(values(value, lambda each: each))
    _ = [text(each) for each in (info.name, info.type, info.runner)]
    _ = info.error is None or text(info.error)
    _ = [whole(each, 0, MOST) for each in (info.batch_limit, info.lease_time, info.retry_interval)]
    whole(info.retry_limit, -MOST, MOST)
    return info


def unsettled(value: Any) -> Unsettled:
    """A part of a claim; older files have fewer values, and not of the strictest types."""
    part = unpack_unsettled(value)
    for each in (value[0], value[1], *value[7:8], *value[9:10]):
        ids(each)
    _ = len(value) < 11 or value[10] is None or ids(value[10])
    ids([*part.sent, *part.unsent])
    text(part.cause)
    whole(part.delay, 0, MOST)
    return part


def _shown(value: Any) -> str:
    return f"{value!r:.60}"
