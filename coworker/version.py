"""Versions of CiviCRM, such as `6.13.3`, `5.77.beta1` and `6.4.alpha1`, as values that can be compared."""

from __future__ import annotations

import re

_LEADING_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_PARTS = re.compile(r"\d+|[a-z]+")
_UNSTABLE = {"alpha": -3, "beta": -2, "rc": -1}


def version_key(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (5, 77) for "5.77.beta1", () for none.

    This tells what a version can do: alphas and betas count as their release, for they have its features.
    """
    lead = _LEADING_NUMBERS.match(version.strip())
    return tuple(int(number) for number in lead[0].split(".")) if lead else ()


def age_key(version: str) -> list[tuple[int, int]]:
    """Return a key that tells which version is newer: 6.4.alpha1 < 6.4.beta1 < 6.4.0 < 6.4.1."""
    parts = [
        (_UNSTABLE.get(part, 0), 0) if part.isalpha() else (0, int(part)) for part in _PARTS.findall(version)
    ]
    return [*parts, (0, 0)]
