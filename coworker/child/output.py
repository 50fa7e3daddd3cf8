"""What a pipe prints besides answers: it is logged with the names of the tasks that printed it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from coworker.civi.connection import SiteClient
from coworker.civi.pages import told_briefly
from coworker.errors import LeftBehindError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import Note, Spent
from coworker.log import LEVELS
from coworker.model import Identity, RetireReason

Errors = dict[str, dict[str, Any]]
MARK = '{"coworker":"task_'
TOLD = ("title", "callback", "error", "arguments")
SOMEBODY_ELSE = 16  # the exit status of a pipe in which a task has changed who is logged in; see minipipe.php


class Leftover(NamedTuple):
    """What a task left behind, as the bundled adapter tells it."""

    id: str
    what: str
    text: str
    level: str  # of the log
    title: str | None = None
    callback: str | None = None
    replace: str | None = None  # the pipe: "soon" when another has booted, "now" when the batch has ended


class Said(NamedTuple):
    """What a pipe wrote to stderr: what tasks wrote, and what the adapter said of them."""

    text: str
    errors: Errors  # of those that failed, by id
    left: list[Leftover]


def split_stderr(text: str) -> Said:
    """Tell the lines of the bundled adapter from all others."""
    if MARK not in text:
        return Said(text, {}, [])
    said = Said("", {}, [])
    lines = text.splitlines(keepends=True)
    rest = [line for line in lines if not (line.startswith(MARK) and _take(line, said))]
    return said._replace(text="".join(rest))


def _take(line: str, said: Said) -> bool:
    """Add to `said` what a line of the adapter says. Whether it is one."""
    try:
        found = json.loads(line)
        kind, item = found["coworker"], str(found["id"])
        if kind == "task_error":
            said.errors[item] = {name: found[name] for name in TOLD if found.get(name) is not None}
        elif kind == "task_left" and found["level"] in LEVELS:
            told = {name: found[name] for name in Leftover._fields if name in found}
            said.left.append(Leftover(**told)._replace(id=item))
        else:
            return False
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return True


class Output:
    """The output of a pipe, put down to the tasks that ran last, also after their answer, or to the pipe."""

    def __init__(self, client: SiteClient, link: ChildLink) -> None:
        self._client = client
        self._link = link
        self._ran: tuple[str, list[str], Identity | None] | None = None
        self._unfit = ""  # why nothing may be run in this pipe any more

    def begin(self, queue: str, ids: list[str], identity: Identity | None) -> None:
        """Log what was printed before, since these tasks run next."""
        self.tell()
        self._ran = queue, ids, identity

    def tell(self, *, failed: bool = False) -> Errors:
        """Log what was printed since. If a task has `failed`, stderr is worth a notice: it tells why.

        Returns what the bundled adapter said of tasks that failed, by the item's id; that is not logged.
        """
        stderr, errors, left = split_stderr(self._client.take_stderr())
        who, level = ("pipe", "notice") if self._ran is None else ("task", "warning")
        said = (
            (level, f"{who}_printed", self._client.take_noise()),
            ("notice" if failed else "debug", f"{who}_stderr", stderr),
        )
        for level, event, text in said:
            if text:
                self._link.post(Note(level, event, {**self._names(), "text": told_briefly(text)}))
        for each in left:
            self._tell_left(each)
        return errors

    def check_fitness(self) -> None:
        """Raise LeftBehindError if nothing may be run in this pipe any more."""
        if self._unfit:
            raise LeftBehindError(self._unfit)

    def _tell_left(self, left: Leftover) -> None:
        fields = {**self._names(), **left._asdict(), "item": left.id}
        for name in ("items", "id", "level", "replace"):
            fields.pop(name, None)
        self._link.post(Note(left.level, "task_left", fields))
        if left.replace == "soon":
            self._link.post(Spent(RetireReason.LEFT_BEHIND.value))
        elif left.replace == "now":
            self._unfit = f"item {left.id} ({left.callback}) has left {left.text}"

    def _names(self) -> dict[str, Any]:
        if self._ran is None:
            return {}
        queue, ids, identity = self._ran
        return {"queue": queue, "items": ",".join(ids), "identity": str(identity)}
