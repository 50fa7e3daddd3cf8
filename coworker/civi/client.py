"""JSON-RPC calls to a site through its pipe: welcome, options, login, API calls (contract A1, A2)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NoReturn

from coworker.civi.features import ApiCall, Welcome
from coworker.civi.pages import told_briefly
from coworker.civi.pipe import Pipe
from coworker.errors import (
    BootError,
    CallError,
    PipeTimeoutError,
    ProtocolError,
    RequestTooLongError,
    SiteError,
)
from coworker.model import ExitStatus
from coworker.unix.poller import steady
from coworker.version import version_key
from coworker.wire import jsonrpc

BUFFER_SIZE = 16 * 1024 * 1024  # bytes: the longest request that we ask the site to take
_MOST_GARBAGE = 1024 * 1024  # bytes printed before the welcome
_EXCERPT = 500  # characters of what it printed, in an error message


class Client:
    """Calls to one site, one at a time. Times in seconds.

    Calls raise CallError (the site refused this one; EmptyAnswerError and RequestTooLongError are kinds
    of it) and the pipe goes on; after PipeGoneError, PipeTimeoutError and ProtocolError it can only be ended.
    """

    binds = True
    masks_errors = False

    def __init__(self, pipe: Pipe, *, call_timeout: float) -> None:
        self.pipe = pipe
        self.welcome: Welcome | None = None
        self._call_timeout = call_timeout
        self._buffer_size = 524_288  # the site's own default, until the handshake
        self._last_id = 0

    def handshake(self, *, minimum_version: str, deadline: float) -> Welcome:
        """Wait for the welcome, check it, and set this pipe's options. `deadline` in steady seconds.

        Raises BootError with one line that says what was wrong, with which command, and what it printed.
        """
        try:
            welcome = _welcome_of(self._read_header(deadline))
            _check(welcome, minimum_version)
            self._set_options(deadline)
        except SiteError as error:
            self._boot_failure(error)
        self.welcome = welcome
        return welcome

    def call(self, method: str, params: Any, *, timeout: float | None = None) -> Any:
        """Call a method of the pipe (`api4`, `login`, `options`, `echo`) and return its result."""
        self._last_id = ident = self._last_id + 1
        line = self._exchange(jsonrpc.request(method, params, ident), timeout)
        try:
            return jsonrpc.parse_answer(line, ident)
        except ProtocolError as error:
            self.pipe.condemn(str(error))
            raise

    def api4(
        self, entity: str, action: str, params: dict[str, Any], *, timeout: float | None = None
    ) -> list[Any]:
        """Call an APIv4 action and return its rows."""
        return _rows(self.call("api4", [entity, action, params], timeout=timeout))

    def api4_batch(
        self, calls: Sequence[ApiCall], *, timeout: float | None = None
    ) -> list[list[Any] | CallError]:
        """Call several actions in one exchange, in order; one that fails gives its CallError, not rows."""
        if not calls:
            return []
        idents = range(self._last_id + 1, self._last_id + 1 + len(calls))
        self._last_id += len(calls)
        request = jsonrpc.batch([("api4", call, ident) for call, ident in zip(calls, idents, strict=True)])
        line = self._exchange(request, timeout)
        try:
            results = jsonrpc.parse_batch(line, idents)
        except ProtocolError as error:
            self.pipe.condemn(str(error))
            raise
        return [result if isinstance(result, CallError) else _rows(result) for result in results]

    def login(self, contact: int | None) -> None:
        """Log in as a contact, for the life of the pipe (contract A2). Raises CallError when refused."""
        self.call("login", {"contactId": contact})

    def take_noise(self) -> str:
        """Return what tasks printed since the last call (Pipe.take_noise)."""
        return self.pipe.take_noise()

    def take_stderr(self) -> str:
        """Return what was written to stderr since the last call (Pipe.take_stderr)."""
        return self.pipe.take_stderr()

    def end(self, *, patience: tuple[float, float] = (1.0, 1.0)) -> ExitStatus:
        """End the pipe by the ladder (Pipe.end)."""
        return self.pipe.end(patience=patience)

    def kill(self) -> ExitStatus:
        """Kill the pipe's whole process group (Pipe.kill)."""
        return self.pipe.kill()

    def _exchange(self, request: bytes, timeout: float | None) -> bytes:
        # A longer line would be cut up and answered more than once (contract A1).
        if len(request) >= self._buffer_size:
            raise RequestTooLongError(
                f"the request has {len(request)} bytes, the site takes {self._buffer_size - 1}"
            )
        seconds = self._call_timeout if timeout is None else timeout
        return self.pipe.exchange(request, steady() + seconds)

    def _read_header(self, deadline: float) -> Any:
        """Return what the welcome says; what stands before it, and around it on its line, is noise."""
        garbage = 0
        while garbage <= _MOST_GARBAGE:
            try:
                line = self.pipe.read_line(deadline)
            except PipeTimeoutError as error:
                raise PipeTimeoutError("no welcome in time") from error
            welcome = jsonrpc.find_welcome(line)
            noise = line if welcome is None else welcome[1]
            if welcome is None or noise:
                self.pipe.add_noise(noise)
            if welcome is not None:
                return welcome[0]
            garbage += len(line) + 1
        raise ProtocolError("it prints something else than a welcome")

    def _set_options(self, deadline: float) -> None:
        # PHP's json_encode escapes control characters, so no answer contains this; no task can guess it.
        prefix = f"\x01{secrets.token_hex(12)}\x02"
        options = {"apiCheckPermissions": False, "responsePrefix": prefix, "bufferSize": BUFFER_SIZE}
        self.pipe.set_prefix(prefix.encode())
        answer = self.call("options", options, timeout=deadline - steady())
        if not isinstance(answer, dict):
            raise ProtocolError(f"it did not take the options, but answered {answer!r}"[:_EXCERPT])
        if answer.get("apiCheckPermissions") is not False:
            raise ProtocolError("it does not let us call without permission checks")
        if isinstance(answer.get("bufferSize"), int):
            self._buffer_size = answer["bufferSize"]

    def _boot_failure(self, error: SiteError) -> NoReturn:
        """Raise a BootError that tells all we know, in one line."""
        self.pipe.condemn(str(error))
        parts = [f"the pipe {self.pipe.command!r} did not become ready: {str(error).rstrip('.')}"]
        for name, text in (("stderr", self.pipe.stderr_tail), ("stdout", self.pipe.take_noise())):
            if text.strip():
                parts.append(f"{name}: {_one_line(told_briefly(text))}")
        raise BootError("; ".join(parts)) from error


def _welcome_of(header: Any) -> Welcome:
    """Read `{"v": version, "t": "trusted", "l": ["login"]}`; null or [] if no flags were given."""
    says = header if isinstance(header, dict) else {}
    login = says.get("l")
    return Welcome(
        version=str(says.get("v") or ""),
        trusted=says.get("t") == "trusted",
        login=isinstance(login, list) and "login" in login,
    )


def _check(welcome: Welcome, minimum_version: str) -> None:
    if not welcome.version:
        raise ProtocolError("its welcome names no version: it must be started with the flags 'vtl'")
    if version_key(welcome.version) < version_key(minimum_version):
        raise ProtocolError(f"CiviCRM {welcome.version} is too old, {minimum_version} is needed")
    if not welcome.trusted:
        raise ProtocolError("the session is not trusted: it must be started with the flags 'vtl'")


def _rows(result: Any) -> list[Any]:
    """Return the rows of an APIv4 result: a list, but an object when it was indexed."""
    if isinstance(result, list):
        return result
    if isinstance(result, dict):
        return list(result.values())
    raise ProtocolError(f"the API did not answer a list: {result!r}"[:_EXCERPT])


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _EXCERPT else "…" + words[-_EXCERPT:]
