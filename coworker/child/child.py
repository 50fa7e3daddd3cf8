"""Any child after the fork: its signals, its socket, its title, its last word. Pipes are for `site_child`."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable

import setproctitle

from coworker.ipc.link import ChildLink, MasterGoneError
from coworker.ipc.messages import Bye, Note
from coworker.model import Identity
from coworker.text import one_line
from coworker.unix.children import become_subreaper
from coworker.unix.command import reap_all
from coworker.unix.poller import Poller
from coworker.unix.signals import SignalInbox
from coworker.unix.sockets import Channel

LONGEST_TITLE = 500  # characters
COUNT_INTERVAL = 1.0  # seconds between changes of the title that only count


class Title:
    """The title, as in `coworker: worker 1 example  system   import/12 (37 done)`; written only on change."""

    def __init__(self, name: str) -> None:
        self._name = name  # "worker 1 example"
        self._shown = ""
        self._where = ""
        self._counted_at = 0.0

    def show(self, identity: Identity | None, queue: str | None, done: int) -> None:
        who = f"  {identity}" if identity is not None else ""
        self._where = f"coworker: {self._name}{who}" + (f"   {queue}" if queue else "")
        self._write(f"{self._where} ({done} done)" if done else self._where)

    def count(self, done: int) -> None:
        """Show a new number of items done, but write the title at most once a second for it."""
        now = time.monotonic()
        if now - self._counted_at >= COUNT_INTERVAL:
            self._counted_at = now
            self._write(f"{self._where} ({done} done)")

    def say(self, text: str) -> None:
        """Show a text after the name."""
        self._write(f"coworker: {self._name}  {text}" if text else f"coworker: {self._name}")

    def _write(self, title: str) -> None:
        if title != self._shown:
            self._shown = title
            setproctitle.setproctitle(one_line(title, LONGEST_TITLE))


Life = Callable[[ChildLink, Poller, Title], Bye]  # what a child does until it leaves


def run(name: str, life: Life, channel: Channel, signals: SignalInbox) -> None:
    """Live, and say bye: the whole of a child. `name` is what its title begins with."""
    become_subreaper()  # what a pipe starts is ours to end, wherever it goes
    poller = Poller()
    link = ChildLink(channel)
    poller.register(channel.fileno(), link.on_readable)
    poller.register(signals.fileno(), lambda: _on_signals(signals, link))
    title = Title(name)
    title.say("booting")
    try:
        link.report(life(link, poller, title))
    except MasterGoneError:
        return
    except Exception:
        link.report(Note("critical", "child_crashed", {"text": traceback.format_exc()}))
        raise


def _on_signals(signals: SignalInbox, link: ChildLink) -> None:
    taken = signals.take()
    if signal.SIGCHLD in taken:
        reap_all()
    if signal.SIGTERM in taken:
        link.retire()
