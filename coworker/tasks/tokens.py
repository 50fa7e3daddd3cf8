"""A worker's short-lived credentials: control makes them, the master carries them (contract B)."""

from __future__ import annotations

import time
from typing import Any

from coworker.errors import CallError
from coworker.tasks.link import ChildLink
from coworker.unix.poller import Poller
from coworker.wire.messages import Token, TokenWanted

LIFETIME = 300  # seconds
RENEWED_AFTER = 200.0  # seconds: a request may take a while to arrive
PATIENCE = 10.0  # seconds for control to answer


class Tokens:
    """By contact."""

    def __init__(self, link: ChildLink, poller: Poller) -> None:
        self._link, self._poller = link, poller
        self._known: dict[int, tuple[str, float]] = {}

    def of(self, contact: int) -> str:
        """One that is good for some time yet. Raises CallError; orders that come meanwhile wait."""
        text, until = self._known.get(contact, ("", 0.0))
        if time.monotonic() < until:
            return text
        self._link.report(TokenWanted(contact))
        deadline = time.monotonic() + PATIENCE
        while (answer := self._answer(contact)) is None:
            if time.monotonic() >= deadline:
                raise CallError(f"cannot act as contact {contact}: control made no token in time")
            self._poller.wait(deadline - time.monotonic())
        if answer.error:
            raise CallError(f"cannot act as contact {contact}: {answer.error}")
        self._known[contact] = answer.credential, time.monotonic() + RENEWED_AFTER
        return str(answer.credential)

    def _answer(self, contact: int) -> Any:
        for order in self._link.inbox:
            if isinstance(order, Token) and order.contact == contact:
                self._link.inbox.remove(order)
                return order
        return None
