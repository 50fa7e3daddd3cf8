"""A worker's short-lived credentials: control makes them, the master carries them (contract B)."""

from __future__ import annotations

import time

from coworker.civi.features import Api
from coworker.errors import CallError
from coworker.ipc.link import ChildLink
from coworker.ipc.messages import NO_CONTROL, Token, TokenWanted
from coworker.unix.poller import Poller

LIFETIME = 300  # seconds
STALE_AFTER = 200.0  # seconds: a request may take a while to arrive
PATIENCE = 10.0  # seconds for control to answer
PAUSE = 0.1  # seconds until a token is asked for again where there is no control


def issue(client: Api, contact: int) -> str:
    """A new credential, made by a trusted pipe (from 5.63 on). Raises CallError."""
    made = client.api4("AuthxCredential", "create", {"contactId": contact, "ttl": LIFETIME})
    try:
        return str(made[0]["cred"]).removeprefix("Bearer ")
    except (LookupError, TypeError):
        raise CallError("the site made a token that is not a token") from None


class Tokens:
    """The credentials of a worker, by contact, each asked for when it is needed."""

    def __init__(self, link: ChildLink, poller: Poller) -> None:
        self._link, self._poller = link, poller
        self._known: dict[int, tuple[str, float]] = {}

    def of(self, contact: int) -> str:
        """A credential that is good for some time yet. Raises CallError. Orders that come meanwhile wait."""
        text, until = self._known.get(contact, ("", 0.0))
        if time.monotonic() < until:
            return text
        deadline = time.monotonic() + PATIENCE
        while (answer := self._ask(contact, deadline)).error == NO_CONTROL:
            self._wait(min(deadline, time.monotonic() + PAUSE))  # a new control is under way
        if answer.error:
            raise CallError(f"cannot act as contact {contact}: {answer.error}")
        self._known[contact] = answer.credential, time.monotonic() + STALE_AFTER
        return answer.credential

    def _ask(self, contact: int, deadline: float) -> Token:
        self._link.report(TokenWanted(contact))
        while (answer := self._answer(contact)) is None:
            if time.monotonic() >= deadline:
                raise CallError(f"cannot act as contact {contact}: control made no token in time")
            self._poller.wait(deadline - time.monotonic())
        return answer

    def _wait(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            self._poller.wait(left)

    def _answer(self, contact: int) -> Token | None:
        for order in self._link.inbox:
            if isinstance(order, Token) and order.contact == contact:
                self._link.inbox.remove(order)
                return order
        return None
