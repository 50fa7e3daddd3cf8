"""A `Civi::pipe` session: the welcome line, JSON-RPC, options, login, api3 and api4 (contract A1)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from coworker.civiserver import phpjson
from coworker.civiserver.api import Request, SessionApi
from coworker.civiserver.errors import SERVER_ERROR, ApiError, message_of
from coworker.civiserver.login import Login
from coworker.civiserver.service import QueueService
from coworker.civiserver.streams import Streams

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
_METHOD = re.compile(r"[a-z][a-zA-Z0-9_]*")
_ABSENT = object()


class Session:
    """What answers lines. It knows nothing of files: `Streams` and `serve` do.

    `call_cost` is burnt for each API call, in seconds of CPU time.
    Raises ApiError for flags that CiviCRM dies of (t and u together).
    """

    def __init__(self, service: QueueService, flags: str = "vtl", call_cost: float = 0.0) -> None:
        if "t" in flags and "u" in flags:
            raise ApiError("Pipe: Cannot be both trusted and untrusted")
        self._flags = flags
        self._version = service.release.version
        trusted = True if "t" in flags else (False if "u" in flags else None)
        self._login = Login(service.site, service.domain, trusted)
        self._api = SessionApi(service, self._login)
        self._call_cost = call_cost
        self.options: dict[str, Any] = {
            "apiCheckPermissions": True,
            "apiError": "exception",
            "bufferSize": 524288,
            "responsePrefix": None,
        }
        self._methods: dict[str, Callable[[Any], Any]] = {
            "api3": self._api3,
            "api4": self._api4,
            "echo": phpjson.as_php_array,
            "login": self._log_in,
            "options": self._options,
        }

    def welcome(self) -> str:
        """Return the header line: what was negotiated, in the order of the flags; unknown flags are null."""
        known = {
            "v": self._version,
            "t": "trusted",
            "u": "untrusted",
            "l": ["login"],
            "j": ["jsonrpc-2.0"],
        }
        return phpjson.encode({"Civi::pipe": {flag: known.get(flag) for flag in self._flags} or None}) or ""

    def answer(self, line: bytes) -> bytes | None:
        """Return the line to send back, None for lines that are ignored (empty ones, and `0`)."""
        if line in (b"", b"0"):
            return None
        text = phpjson.encode(self._respond(line)) or ""  # an empty line: the answer could not be encoded
        prefix = self.options["responsePrefix"]
        return f"{'' if prefix is None else prefix}{text}\n".encode()

    def _respond(self, line: bytes) -> Any:
        try:
            request = phpjson.decode(line)
        except ValueError:
            request = None
        if request is None:
            return _error({}, PARSE_ERROR, "Parse error")
        if isinstance(request, list) and request and request[0] is not None:
            return [self._handle(entry) for entry in request]
        if isinstance(request, dict) and request.get("method") is not None:
            return self._handle(request)
        return _error({}, INVALID_REQUEST, "Invalid Request")

    def _handle(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict):
            return _error({}, INVALID_REQUEST, "Invalid Request")
        try:
            response = {"jsonrpc": "2.0", "result": self._dispatch(request)}
        except ApiError as error:
            return _error(request, error.code, str(error))
        except Exception as error:  # as in PHP: any throwable is an answer, and the pipe goes on
            return _error(request, SERVER_ERROR, message_of(error))
        if "id" in request:
            response["id"] = request["id"]
        return response

    def _dispatch(self, request: dict[str, Any]) -> Any:
        method, params = request.get("method"), request.get("params")
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            raise ApiError("Invalid Request", INVALID_REQUEST)
        if params is None:
            params = []
        if not isinstance(params, (list, dict)):
            raise ApiError("Invalid params", INVALID_PARAMS)
        name = method.replace(".", "_")
        function = self._methods.get(name) if _METHOD.fullmatch(name) else None
        if function is None:
            raise ApiError("Method not found", NO_METHOD)
        return function(params)

    def _log_in(self, params: Any) -> Any:
        return self._login.log_in(params if isinstance(params, dict) else {})

    def _options(self, params: Any) -> Any:
        """Set what is given and answer it; all of them if nothing is given. Unknown names are ignored."""
        trusted = self._login.trusted
        if not params:
            return dict(self.options)
        changed: dict[str, Any] = {}
        for name, value in params.items() if isinstance(params, dict) else ():
            if name not in self.options or (name == "apiCheckPermissions" and not trusted):
                continue
            self.options[name] = changed[name] = _checked_option(name, value)
        return changed or []

    def _api3(self, params: Any) -> Any:
        self._burn()
        _ = self._login.trusted
        entity, action, _ = _call_tuple(params, "civicrm_api3")
        raise ApiError(f"API ({entity}, {action}) does not exist (join the API team and implement it!)")

    def _api4(self, params: Any) -> Any:
        self._burn()
        trusted = self._login.trusted
        entity, action, arguments = _call_tuple(params, "civicrm_api4")
        wanted = arguments.get("checkPermissions")
        check = not trusted or bool(self.options["apiCheckPermissions"] if wanted is None else wanted)
        request = Request(entity, action, arguments, check)
        if self.options["apiError"] != "array":
            return self._api.call(request)
        try:
            return self._api.call(request)
        except Exception as error:
            return {"error_code": 0, "error_message": message_of(error), "is_error": 1}

    def _burn(self) -> None:
        if self._call_cost:
            burn(self._call_cost)


def serve(session: Session, streams: Streams) -> None:
    """Write the welcome, then one answer for each line until the end of the input."""
    streams.write(session.welcome().encode() + b"\n")
    while not streams.closed and (line := streams.read_line(session.options["bufferSize"])) is not None:
        answer = session.answer(line)
        streams.noise_allowed = session.options["responsePrefix"] is not None
        if answer is not None:
            streams.write(answer)


def burn(seconds: float) -> None:
    """Use so much CPU time: what a heavier site costs, for tests and benchmarks."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        for _ in range(1000):  # mostly computing, not asking for the time
            pass


def _error(request: dict[str, Any], code: int, message: str) -> dict[str, Any]:
    response = {
        "jsonrpc": request.get("jsonrpc") or "2.0",
        "error": {"code": code, "message": message, "data": None},
    }
    request_id = request.get("id", _ABSENT)
    if request_id is not _ABSENT:
        response["id"] = request_id
    return response


def _call_tuple(params: Any, function: str) -> tuple[str, str, dict[str, Any]]:
    """Read `[entity, action, params]`; PHP's empty array stands for empty params."""
    if (
        not isinstance(params, list)
        or len(params) < 2
        or not all(isinstance(part, str) for part in params[:2])
    ):
        raise ApiError(f"Too few arguments to function {function}()")
    arguments = params[2] if len(params) > 2 else {}
    if arguments is None or arguments == []:
        arguments = {}
    if not isinstance(arguments, dict):
        raise ApiError(f"{function}(): Argument #3 ($params) must be of type array")
    return params[0], params[1], arguments


def _checked_option(name: str, value: Any) -> Any:
    if name == "bufferSize" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ApiError("setBufferSize(): Argument #1 ($bufferSize) must be of type int")
    if name == "responsePrefix" and not isinstance(value, (str, type(None))):
        raise ApiError("setResponsePrefix(): Argument #1 ($responsePrefix) must be of type ?string")
    return value
