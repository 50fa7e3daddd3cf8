"""The address of a site's APIv4 over HTTP (contract B): a URL with a place for entity and action."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_PLACES = {"CRMAPI4ENTITY": "{entity}", "CRMAPI4ACTION": "{action}"}  # as CiviCRM's own explorer prints it
_HOW = "as https://example.com/civicrm/ajax/api4/{entity}/{action}"
_AT_ITS_END = re.compile(r"/?\{entity\}/\{action\}(?=$|&|#)")


class Address(NamedTuple):
    """`template` has {entity} and {action}; `token`: the credential that stood in the URL."""

    template: str
    token: str | None = None

    def url(self, entity: str, action: str) -> str:
        return self.template.replace("{entity}", entity).replace("{action}", action)

    @property
    def many(self) -> str | None:
        """Where several calls go in one request; None if that cannot be told."""
        stripped, count = _AT_ITS_END.subn("", self.template)
        return stripped if count == 1 else None

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown."""
        parts = urlsplit(self.template)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def is_plain(self) -> bool:
        """Whether the credential crosses a network unencrypted."""
        parts = urlsplit(self.template)
        loopback = (parts.hostname or "").startswith("127.") or parts.hostname in ("localhost", "::1")
        return parts.scheme == "http" and not loopback


def read_address(text: str) -> Address:
    """Read a URL, also `https://example.com/civicrm/queue?token=XXX`. Raises ValueError without the token."""
    for sign, place in _PLACES.items():
        text = text.replace(sign, place)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # it may show what is secret
        raise ValueError(f"is no URL: its host or port cannot be, {_HOW}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must be a URL with https:// and a host, {_HOW}")
    if "token=" in parts.query:
        fields = parse_qsl(parts.query, keep_blank_values=True)
        token = next((value for name, value in fields if name == "token"), None) or None
        query = urlencode([each for each in fields if each[0] != "token"], safe="{}/")
        path = parts.path
        if "{entity}" not in text and "/civicrm" in path:
            path = path[: path.index("/civicrm")] + "/civicrm/ajax/api4/{entity}/{action}"
        return _checked(urlunsplit((parts.scheme, parts.netloc, path, query, "")), token)
    return _checked(text, None)


def _checked(template: str, token: str | None) -> Address:
    for place in ("{entity}", "{action}"):
        if template.count(place) != 1:
            raise ValueError(f"must have {{entity}} and {{action}} once each, {_HOW}")
    return Address(template, token)
