"""Credentials for HTTP: what a file or a setting gives, and what of it may be shown (nothing)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_ILLEGAL = re.compile(r"[^ -~]")  # no header can carry it
_FEW = 4  # characters: what is as short as that is masked nowhere, for it stands everywhere


def read_secret(path: Path) -> str:
    """Return the first line of a file. Raises OSError, and ValueError that names the file."""
    try:
        text = path.read_bytes().decode("utf-8-sig").strip()  # some editors put a mark in front
    except UnicodeDecodeError:
        raise ValueError(f"the credential in {path} cannot be read: it is not text") from None
    if not text:
        raise ValueError(f"the credential in {path} is missing: the file is empty")
    secret = text.splitlines()[0].strip()
    if problem := illegal(secret):
        raise ValueError(f"the credential in {path} cannot be used: {problem}")
    return secret


def illegal(secret: str) -> str:
    """Return what no header can carry in a credential, in words that do not tell the rest; "" if it can."""
    found = _ILLEGAL.search(secret)
    return f"its character {found.start() + 1} is U+{ord(found.group()):04X}" if found else ""


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, however a library may have written them: `repr` shows bytes."""
    for secret in secrets:
        shown = {secret, repr(secret)[1:-1], repr(secret.encode())[2:-1]}
        for form in sorted((each for each in shown if len(each) > _FEW), key=len, reverse=True):
            text = text.replace(form, "***")
    return text
