"""JSON as PHP's json_encode and json_decode have it: the protocol's bytes depend on it (contract A1)."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse)
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)


def decode(line: bytes) -> Any:
    """Return the value of one request line. Raises ValueError where json_decode would return NULL."""
    text = line.decode("utf-8")
    try:
        value = _decoder.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if _SURROGATE.search(text):
        _check_unicode(value)
    return value


def encode(value: Any) -> str | None:
    """Return one line of ASCII, or None where json_encode would return FALSE (bad text, NaN, other types)."""
    try:
        text = _encoder.encode(value)
        if _SURROGATE.search(text):
            _check_unicode(value)
    except (ValueError, TypeError, RecursionError):
        return None
    return text.replace("/", "\\/")


def as_php_array(value: Any) -> Any:
    """Return what a round trip through PHP's arrays leaves of a value: `{}` becomes `[]`, 1.0 becomes 1."""
    if isinstance(value, dict):
        return {key: as_php_array(item) for key, item in value.items()} or []
    if isinstance(value, list):
        return [as_php_array(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _check_unicode(value: Any) -> None:
    """Raise UnicodeEncodeError (a ValueError) for half a surrogate pair: PHP has no such strings."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")
