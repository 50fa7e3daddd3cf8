"""What a site's answer over HTTP means (contract B): values, an error of the call, or trouble on the way.

The one question beyond that: may the request have been carried out? If it may, its claim or its task is
settled like that of a pipe that died; if not, it is given back at once (rule 9).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

from coworker.errors import CallError, CoworkerError, ForbiddenError, SiteError

_EXCERPT = 200  # characters of a page
_MASKED = "Sorry an error occurred"
_LATER = (429, 503)
_TIMED_OUT = 408  # like the 5xx: whoever says so cannot know how far PHP came
_LONGEST_WAIT = 3600.0  # seconds that a Retry-After may ask for


class WebError(SiteError):
    """The site did not answer as an API does.

    `processed`: the request may have been carried out all the same. `retry_after`: seconds to wait, if told.
    """

    def __init__(self, message: str, *, processed: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.processed = processed
        self.retry_after = retry_after


def read(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the JSON of an answer with status 200. Raises WebError, ForbiddenError and CallError."""
    value = _json(headers, body)
    if status == 200:
        if value is None:
            raise WebError(
                f"the site answers with a page, not with JSON: is the address in web right?{_words(body)}",
                processed=True,
            )
        return value
    raise _refusal(status, headers, value, body)


def rows(value: Any) -> list[Any]:
    """Return the rows of one API call's answer. Raises CallError."""
    if isinstance(value, dict) and isinstance(value.get("values"), (list, dict)):
        values = value["values"]
        return values if isinstance(values, list) else list(values.values())
    if isinstance(value, dict) and value.get("error_message"):
        raise _api_error(value)
    raise WebError(f"the site answers something odd: {value!r}"[:_EXCERPT], processed=True)


def by_key(value: Any, keys: Sequence[str]) -> list[Any]:
    """Return the answers of several calls, in the order of their keys.

    PHP makes a list of an array whose keys are 0, 1, 2, …, and of one without keys.
    """
    if isinstance(value, list) and len(value) == len(keys):
        return value
    if isinstance(value, dict):
        return [value.get(key) for key in keys]
    raise WebError(f"the site answers something odd: {value!r}"[:_EXCERPT], processed=True)


def _refusal(status: int, headers: Mapping[str, str], value: Any, body: bytes) -> CoworkerError:
    """Make an error of an answer with another status than 200."""
    says = value if isinstance(value, dict) else {}
    message = str(says.get("error_message") or says.get("status_message") or "")
    shown = f": {message}" if message else _words(body)
    if status == 500 and says.get("error_message"):
        return _api_error(says)
    if status == 403 and says.get("error_message"):
        why = "" if message.startswith(_MASKED) else shown  # it differs each time
        return ForbiddenError(f"the contact may not do this over HTTP (403{why})")
    if status in _LATER:
        why = "is in maintenance or overloaded" if status == 503 else "wants fewer requests"
        return WebError(
            f"the site {why} (HTTP {status}{shown})", processed=False, retry_after=_retry_after(headers)
        )
    if status == _TIMED_OUT or status >= 500:
        return WebError(f"HTTP {status}{shown}: nobody knows how far the request came", processed=True)
    return WebError(f"{_HINTS.get(status, f'HTTP {status}')}{shown}", processed=False)


_HINTS = {
    400: "the site refuses the request (HTTP 400)",
    401: "the site refuses the credential (HTTP 401)",
    403: "the web server, or a firewall before it, refuses the request (HTTP 403)",
    404: "there is nothing at this address (HTTP 404): is the address in web right?",
    405: "the site takes no POST at this address (HTTP 405): is the address in web right?",
}


def redirection(status: int, location: str, address: str) -> WebError:
    """Make an error of a redirect. It is never followed: the credential is for the host that was named."""
    where = location.partition("?")[0] or "nowhere"
    return WebError(
        f"{address} redirects to {where} (HTTP {status}): give that address in web", processed=False
    )


def _api_error(says: Mapping[str, Any]) -> CallError:
    message, code = str(says["error_message"]), says.get("error_code")
    if message.startswith(_MASKED):
        message += (
            " CiviCRM's log has the reason; with the permission 'view debug output' it would be said here"
        )
    return CallError(message, code if isinstance(code, int) else 0)


def _json(headers: Mapping[str, str], body: bytes) -> Any:
    """Return the value, None when it is not JSON. A PHP notice may stand before it."""
    if "json" not in headers.get("content-type", ""):
        return None
    try:
        return json.loads(body)
    except ValueError:
        start = body.find(b"{")
        try:
            return json.loads(body[start:]) if start > 0 else None
        except ValueError:
            return None


def _words(body: bytes) -> str:
    """Return what a page says, in a few words."""
    text = re.sub(rb"(?is)<(style|script|head)\b.*?(</\1>|$)", b" ", body[:100_000]).decode(errors="replace")
    words = " ".join(unescape(re.sub(r"(?s)<[^>]*>", " ", text)).split())
    return f"; it says: {words[:_EXCERPT]}" if words else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds to wait. A date, which few send, is not read."""
    text = headers.get("retry-after", "").strip()
    return min(float(text), _LONGEST_WAIT) if text.isdecimal() else None
