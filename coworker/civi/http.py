"""A site over HTTP, in place of a pipe: APIv4 with a credential (contract B).

`WebLink` carries requests: it waits on the child's poller like a pipe does, so that the master is heard
meanwhile, while a thread of its own waits for the site. `WebClient` knows what requests mean.
"""

from __future__ import annotations

import encodings.idna
import json
import os
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any

import httpx

from coworker.civi import http_answers as answers
from coworker.civi.connection import never, nothing
from coworker.civi.features import ApiCall, Welcome
from coworker.civi.http_answers import WebError
from coworker.config.secret import masked
from coworker.config.web import Address
from coworker.errors import BootError, CallError, ForbiddenError, PipeTimeoutError, ProtocolError, SiteError
from coworker.model import ExitStatus
from coworker.unix.poller import Poller, steady
from coworker.version import version_key

BODY_LIMIT = 16 * 1024 * 1024  # bytes of an answer
CONNECT_TIMEOUT = 10.0  # seconds
KEPT_ALIVE = 4.0  # seconds: before the web server hangs up on us, perhaps just when we ask (Apache: 5)
SECOND = 1.0
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
FIRST_PAUSE = 1.0  # seconds, where a site that wants fewer requests does not say how long

Answer = tuple[int, httpx.Headers, bytes]
Form = tuple[str, dict[str, str], dict[str, str]]  # URL, headers, fields


class WebLink:
    """One keep-alive connection. It has what a child asks of a Pipe, but there is no process behind it."""

    pid = group = 0
    gone = condemned = False
    stderr_tail = ""
    exit_status = ExitStatus()
    survives = False

    def __init__(self, address: Address, *, ca_file: str | None, poller: Poller) -> None:
        """Start the thread that waits for the site. Raises BootError for certificates that cannot be read."""
        self.command = address.origin
        self.request_sent = False  # whether the last request may have been carried out
        self.on_second: Callable[[], object] = nothing  # these two: see Connection
        self.meanwhile: Callable[[float], float] = never
        try:
            trusted = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BootError(f"web_ca_file {ca_file} cannot be used: {error.strerror or error}") from error
        self._http = httpx.Client(
            verify=trusted,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEPT_ALIVE),
            headers={"X-Requested-With": "XMLHttpRequest", "Accept": "application/json"},
        )
        self._poller = poller
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        poller.register(self._wake, self._on_wake)
        self._requests: SimpleQueue[Form] = SimpleQueue()
        self._answers: SimpleQueue[Answer | Exception] = SimpleQueue()
        self._busy = False
        threading.Thread(target=self._carry, daemon=True, name="http").start()

    def post(self, url: str, headers: dict[str, str], fields: dict[str, str], deadline: float) -> Answer:
        """Send a form and return (status, headers, body). `deadline` in steady seconds.

        Raises WebError and PipeTimeoutError; what other callbacks of the poller raise passes through. After
        that, and after a time-out, the link is of no more use.
        """
        if self._busy:
            raise ProtocolError("the site has not answered an earlier request")
        self.request_sent = False
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise WebError(f"the header {name} would have characters that none can have", processed=False)
        self.request_sent, self._busy = True, True
        self._requests.put((url, headers, fields))
        answer = self._await(deadline)
        self._busy = False
        if isinstance(answer, Exception):
            raise self._explained(answer, headers) from None  # the cause may show a credential
        status, answered, _ = answer
        if 300 <= status < 400:
            self.request_sent = False
            raise answers.redirection(status, answered.get("location", ""), self.command)
        return answer

    def _await(self, deadline: float) -> Answer | Exception:
        next_second = steady() + SECOND
        while self._answers.empty():
            now = steady()
            if now >= deadline:
                raise PipeTimeoutError(f"{self.command} did not answer in time")
            if now >= next_second:
                next_second = now + SECOND
                self.on_second()
            self._poller.wait(min(deadline, next_second, self.meanwhile(now)) - now)
        return self._answers.get()

    def rest(self, seconds: float) -> None:
        """Wait, but hear the master meanwhile."""
        until = steady() + seconds
        while (left := until - steady()) > 0:
            self._poller.wait(left)

    def _carry(self) -> None:
        """Send one request after the other: this is what the thread does."""
        while True:
            form = self._requests.get()
            try:
                self._answers.put(self._send(*form))
            except Exception as error:
                self._answers.put(error)
            try:
                os.write(self._woken, b".")
            except OSError:
                return  # it was closed: the child leaves

    def _send(self, url: str, headers: dict[str, str], fields: dict[str, str]) -> Answer:
        with_limit = bytearray()
        request = self._http.build_request("POST", url, headers=headers, data=fields)
        response = self._http.send(request, stream=True)
        try:
            for chunk in response.iter_bytes():
                with_limit += chunk
                if len(with_limit) > BODY_LIMIT:
                    raise WebError(f"the answer has more than {BODY_LIMIT >> 20} MiB", processed=True)
        finally:
            response.close()
        return response.status_code, response.headers, bytes(with_limit)

    def _explained(self, error: Exception, headers: Mapping[str, str]) -> SiteError:
        """Return the error of a request without an answer. Only what was not sent surely was not done."""
        if isinstance(error, WebError):
            return error
        self.request_sent = not isinstance(error, UNSENT)
        secrets = [value.removeprefix("Bearer ") for value in headers.values()]
        why = " ".join(masked(str(error), secrets).split()) or type(error).__name__
        if self.request_sent:
            return WebError(f"{self.command} did not answer: {why}", processed=True)
        return WebError(f"cannot connect to {self.command}: {why}", processed=False)

    def _on_wake(self) -> None:
        os.read(self._wake, 4096)

    def take_noise(self) -> str:
        return ""

    def take_stderr(self) -> str:
        return ""

    def end(self, *, patience: tuple[float, float] = (0.0, 0.0)) -> ExitStatus:  # noqa: ARG002 - as a Pipe
        """Hang up. What the site is about goes on there."""
        self._poller.unregister(self._wake)
        if not self._busy:
            self._http.close()
        return self.exit_status


class WebClient:
    """Calls to one site, one at a time. Raises what `client.Client` raises, and WebError.

    `mint(contact)` gives a short-lived credential for a contact, or raises CallError; None: nobody can.
    """

    binds = False  # each request has its own credential
    masks_errors = True

    def __init__(
        self,
        link: WebLink,
        address: Address,
        *,
        credential: Callable[[int | None], str],
        header: str,
        site_key: str | None,
        call_timeout: float,
    ) -> None:
        self.pipe = link
        self.welcome: Welcome | None = None
        self.contact: int | None = None  # as whom its own credential logs in
        self._address = address
        self._credential = credential
        self._acting: int | None = None  # as whom the next requests are made; None: its own credential
        self._header = header
        self._site_key = site_key
        self._call_timeout = call_timeout

    def handshake(self, *, minimum_version: str, deadline: float) -> Welcome:
        """Ask who and what is there. Raises BootError with one line."""
        try:
            seconds = deadline - steady()
            version = {"select": ["version"], "currentDomain": True}
            domain = self.api4("Domain", "get", version, timeout=seconds)
            self.contact = self._who_am_i(seconds)
            self.welcome = Welcome(str(domain[0]["version"]), trusted=False, login=True)
        except ForbiddenError as error:
            needs = "the contact of the credential needs 'access CiviCRM' and 'administer queues'"
            raise BootError(f"{self.pipe.command} is of no use: {error}: {needs}") from error
        except (SiteError, LookupError, TypeError, ValueError) as error:
            useless = BootError(f"{self.pipe.command} is of no use: {str(error).rstrip('.')}")
            useless.retry_after = getattr(error, "retry_after", None) or 0.0
            raise useless from error
        if version_key(self.welcome.version) < version_key(minimum_version):
            raise BootError(f"CiviCRM {self.welcome.version} is too old, {minimum_version} is needed")
        return self.welcome

    def _who_am_i(self, timeout: float) -> int | None:
        """Return the contact of the credential; None where it may not see itself."""
        where = {"select": ["id"], "where": [["id", "=", "user_contact_id"]]}
        try:
            return int(self.api4("Contact", "get", where, timeout=timeout)[0]["id"])
        except (CallError, LookupError, TypeError, ValueError):
            return None

    def api4(
        self, entity: str, action: str, params: dict[str, Any], *, timeout: float | None = None
    ) -> list[Any]:
        """Call an APIv4 action and return its rows."""
        fields = {"params": json.dumps(params)}
        return answers.rows(self._post(self._address.url(entity, action), fields, timeout))

    def api4_batch(
        self, calls: Sequence[ApiCall], *, timeout: float | None = None
    ) -> list[list[Any] | CallError]:
        """Call several actions, in one request if the address allows; see client.Client.api4_batch."""
        if not calls:
            return []
        if self._address.many is None or len(calls) == 1:
            return [_rows_or_error(self.api4, *call, timeout=timeout) for call in calls]
        keys = [f"c{number}" for number in range(len(calls))]
        fields = {"calls": json.dumps(dict(zip(keys, calls, strict=True)))}
        answered = answers.by_key(self._post(self._address.many, fields, timeout), keys)
        return [_rows_or_error(answers.rows, answer) for answer in answered]

    def login(self, contact: int | None) -> None:
        """Act as this contact from now on; None: with the credential itself. Raises CallError."""
        wanted, self._acting = None if contact in (None, self.contact) else contact, None
        self._credential(wanted)
        self._acting = wanted

    def take_noise(self) -> str:
        return ""

    def take_stderr(self) -> str:
        return ""

    def _post(self, url: str, fields: dict[str, str], timeout: float | None) -> Any:
        """Send it; where the site wants fewer requests, wait as long as it says and send it again."""
        seconds = self._call_timeout if timeout is None else timeout
        deadline, pause = steady() + seconds, FIRST_PAUSE
        while True:
            headers = {self._header: f"Bearer {self._credential(self._acting)}"}
            if self._site_key:
                headers["X-Civi-Key"] = self._site_key
            status, answered, body = self.pipe.post(url, headers, fields, deadline)
            try:
                return answers.read(status, answered, body)
            except ForbiddenError:
                self.pipe.request_sent = False
                raise
            except WebError as error:
                self.pipe.request_sent = error.processed
                wait = error.retry_after or pause
                if status != 429 or steady() + wait >= deadline:
                    raise
                pause *= 2
                self.pipe.rest(wait)


def _rows_or_error(get: Callable[..., list[Any]], *arguments: Any, **more: Any) -> list[Any] | CallError:
    try:
        return get(*arguments, **more)
    except CallError as error:
        return error


def preload() -> None:
    """Have httpx import what it imports only when it is used."""
    httpx.Client(verify=ssl.create_default_context()).close()
    encodings.idna.ToASCII("example")
