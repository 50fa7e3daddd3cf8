"""A child's way to its site: `pipe.Pipe` and `client.Client`, or `http.WebLink` and `http.WebClient`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

from coworker.civi.features import Api, Welcome
from coworker.model import ExitStatus


def nothing() -> None:
    """Do nothing: this is called in place of `on_second` when nobody wants to know."""


def never(_now: float) -> float:
    """Ask never to be called again: this is `meanwhile` when nobody wants to know."""
    return inf


class Connection(Protocol):
    """What carries bytes there and back. `pid` and `group` are 0 where no process of ours is behind it.

    `request_sent`: whether the last request may have been carried out, at least in part. `on_second` is
    called once a second while an answer is awaited; `meanwhile(now)` before each wait for one, when the
    request is on its way: it returns when it must be called again (monotonic seconds).
    """

    command: str
    pid: int
    group: int
    request_sent: bool
    on_second: Callable[[], object]
    meanwhile: Callable[[float], float]

    @property
    def gone(self) -> bool: ...
    @property
    def condemned(self) -> bool: ...
    @property
    def survives(self) -> bool: ...
    @property
    def exit_status(self) -> ExitStatus: ...
    @property
    def stderr_tail(self) -> str: ...
    def take_noise(self) -> str: ...
    def end(self, *, patience: tuple[float, float] = ...) -> ExitStatus: ...


class SiteClient(Api, Protocol):
    """What makes calls. `binds`: the first login, or task of the system, lasts as long as the connection."""

    @property
    def pipe(self) -> Connection: ...
    @property
    def binds(self) -> bool: ...
    def handshake(self, *, minimum_version: str, deadline: float) -> Welcome: ...
    def login(self, contact: int | None) -> None: ...
    def take_noise(self) -> str: ...
    def take_stderr(self) -> str: ...
