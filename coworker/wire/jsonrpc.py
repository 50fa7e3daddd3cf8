"""JSON-RPC 2.0 as Civi::pipe speaks it: one line a request, one line an answer (contract A1). No I/O here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from coworker.errors import CallError, EmptyAnswerError, ProtocolError

# Made once: json.dumps with these arguments would make an encoder for every call.
_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder()
_parse = _decoder.decode  # json.loads would first guess the encoding
_WELCOME = re.compile(r'\{\s*"Civi::pipe"\s*:')

_EXCERPT = 200  # characters of an odd answer that an error message shows


def request(method: str, params: Any, ident: int) -> bytes:
    """Encode one call as one line of ASCII, without its newline. `params` must be a list or a dict.

    Raises ValueError or TypeError for what JSON cannot express.
    """
    return _encode({"jsonrpc": "2.0", "method": method, "params": params, "id": ident}).encode("ascii")


def batch(calls: Sequence[tuple[str, Any, int]]) -> bytes:
    """Encode several (method, params, id) as one line; the site runs them in order."""
    if not calls:
        raise ValueError("a batch needs a call: the site answers an empty one with an error that has no id")
    return b"[" + b",".join(request(*call) for call in calls) + b"]"


def parse_answer(line: bytes, ident: int) -> Any:
    """Return the result in the answer to the call `ident`.

    Raises CallError for an error in it, EmptyAnswerError for an empty line (the site could not encode its
    result), ProtocolError for anything that is not an answer to this call: not JSON, another id, no id
    (parse errors have none: the site and we are out of step).
    """
    answer = _decode(line)
    if not isinstance(answer, dict):
        raise ProtocolError(f"the answer is not an object: {_excerpt(line)}")
    if not _same_id(answer.get("id"), ident):
        raise ProtocolError(_id_problem(answer, ident, line))
    result = _result(answer, line)
    if isinstance(result, CallError):
        raise result
    return result


def parse_batch(line: bytes, idents: Sequence[int]) -> list[Any | CallError]:
    """Return what the answer to a batch says for each id, in the order of `idents`: a result or a CallError.

    Raises EmptyAnswerError and ProtocolError as `parse_answer` does: these spoil the whole batch.
    """
    answers = _decode(line)
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise ProtocolError(f"the answer to a batch is not a list of answers: {_excerpt(line)}")
    by_id = {answer["id"]: answer for answer in answers if type(answer.get("id")) is int}
    if len(answers) != len(idents) or by_id.keys() != set(idents):
        raise ProtocolError(f"the answer to a batch has other ids than were asked: {_excerpt(line)}")
    return [_result(by_id[ident], line) for ident in idents]


def find_welcome(line: bytes) -> tuple[Any, bytes] | None:
    """Return what the welcome in a line says, and the rest of the line; None if there is no welcome in it.

    A banner without an end of line, a mark of an editor or control characters may stand around it.
    """
    text = line.decode(errors="surrogateescape")
    for start in (match.start() for match in _WELCOME.finditer(text)):
        try:
            value, end = _decoder.raw_decode(text, start)
        except ValueError:
            continue
        except RecursionError:
            return None  # nothing deeper in it would do, and each attempt takes its time
        return value["Civi::pipe"], (text[:start] + text[end:]).encode(errors="surrogateescape")
    return None


def _decode(line: bytes) -> Any:
    if not line.strip():
        raise EmptyAnswerError
    try:
        return _parse(line.decode(errors="surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is not JSON: {_excerpt(line)}") from error


def _result(answer: dict[str, Any], line: bytes) -> Any | CallError:
    error = answer.get("error")
    if error is not None:
        return _call_error(error)
    if "result" not in answer:
        raise ProtocolError(f"the answer has neither result nor error: {_excerpt(line)}")
    return answer["result"]


def _call_error(error: Any) -> CallError:
    if not isinstance(error, dict):
        return CallError(str(error))
    code = error.get("code")
    return CallError(str(error.get("message") or error), code if isinstance(code, int) else 0)


def _same_id(got: Any, ident: int) -> bool:
    return type(got) is int and got == ident  # True == 1 in Python, and 1.0 == 1


def _id_problem(answer: dict[str, Any], ident: int, line: bytes) -> str:
    if answer.get("id") is None:
        return f"the answer has no id: {_excerpt(line)}"
    return f"the answer is to call {answer['id']!r}, not to call {ident}: {_excerpt(line)}"


def _excerpt(line: bytes) -> str:
    text = line[: 4 * _EXCERPT].decode(errors="replace")
    return repr(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…")
