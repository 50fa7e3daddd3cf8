"""What a pipe prints besides answers: it goes to the log with the names of the tasks that printed it."""

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
    """What was written to stderr without the adapter's lines, and these: {id: title, callback, error, …}."""
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
    """Of the tasks that ran last, also what came after their answer; before any task, of the pipe itself."""

    def __init__(self, client: SiteClient, link: ChildLink) -> None:
        self._client = client
        self._link = link
        self._ran: tuple[str, list[str], Identity | None] | None = None

    def begin(self, queue: str, ids: list[str], identity: Identity | None) -> None:
        """These run next: what is there now is not theirs."""
        self.tell()
        self._ran = queue, ids, identity

    def tell(self, *, failed: bool = False) -> Errors:
        """Log what was printed since. On stderr it tells why, if a task has `failed`.

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
