"""What a pipe prints besides answers: it goes to the log with the names of the tasks that printed it."""

from __future__ import annotations

from typing import Any

from coworker.civi.connection import SiteClient
from coworker.model import Identity
from coworker.tasks.link import ChildLink
from coworker.wire.messages import Note


class Words:
    """Of the tasks that ran last, also what came after their answer; before any task, of the pipe itself."""

    def __init__(self, client: SiteClient, link: ChildLink) -> None:
        self._client = client
        self._link = link
        self._ran: tuple[str, list[str], Identity | None] | None = None

    def begin(self, queue: str, ids: list[str], identity: Identity | None) -> None:
        """These run next: what is there now is not theirs."""
        self.tell()
        self._ran = queue, ids, identity

    def tell(self, *, failed: bool = False) -> None:
        """Log what was printed since. On stderr it tells why, if a task has `failed`."""
        who, level = ("pipe", "notice") if self._ran is None else ("task", "warning")
        said = (
            (level, f"{who}_printed", self._client.take_noise()),
            ("notice" if failed else "debug", f"{who}_stderr", self._client.take_stderr()),
        )
        for level, event, text in said:
            if text:
                self._link.post(Note(level, event, {**self._names(), "text": text}))

    def _names(self) -> dict[str, Any]:
        if self._ran is None:
            return {}
        queue, ids, identity = self._ran
        return {"queue": queue, "items": ",".join(ids), "identity": str(identity)}
