"""What a pipe prints besides answers: it is logged with the names of the tasks that printed it."""

from __future__ import annotations

import json
from typing import Any

from coworker.civi.connection import SiteClient
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import Note
from coworker.model import Identity

Errors = dict[str, dict[str, Any]]
MARK = '{"coworker":"task_error"'
TOLD = ("title", "callback", "error", "arguments")


def split_errors(text: str) -> tuple[str, Errors]:
    """Split stderr into (what tasks wrote, what the adapter says: {id: title, callback, error, …})."""
    if MARK not in text:
        return text, {}
    rest, errors = [], {}
    for line in text.splitlines(keepends=True):
        try:
            said = json.loads(line) if line.startswith(MARK) else None
            if said is None:
                rest.append(line)
            else:
                told = {name: said[name] for name in TOLD if said.get(name) is not None}
                errors[str(said["id"])] = told
        except (ValueError, KeyError, TypeError):
            rest.append(line)
    return "".join(rest), errors


class Output:
    """The output of a pipe, put down to the tasks that ran last, also after their answer, or to the pipe."""

    def __init__(self, client: SiteClient, link: ChildLink) -> None:
        self._client = client
        self._link = link
        self._ran: tuple[str, list[str], Identity | None] | None = None

    def begin(self, queue: str, ids: list[str], identity: Identity | None) -> None:
        """Log what was printed before, since these tasks run next."""
        self.tell()
        self._ran = queue, ids, identity

    def tell(self, *, failed: bool = False) -> Errors:
        """Log what was printed since. If a task has `failed`, stderr is worth a notice: it tells why.

        Returns what the bundled adapter said of tasks that failed, by the item's id; that is not logged.
        """
        stderr, errors = split_errors(self._client.take_stderr())
        who, level = ("pipe", "notice") if self._ran is None else ("task", "warning")
        said = (
            (level, f"{who}_printed", self._client.take_noise()),
            ("notice" if failed else "debug", f"{who}_stderr", stderr),
        )
        for level, event, text in said:
            if text:
                self._link.post(Note(level, event, {**self._names(), "text": text}))
        return errors

    def _names(self) -> dict[str, Any]:
        if self._ran is None:
            return {}
        queue, ids, identity = self._ran
        return {"queue": queue, "items": ",".join(ids), "identity": str(identity)}
