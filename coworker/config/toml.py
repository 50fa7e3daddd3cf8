"""The TOML parser: the standard library's, or before Python 3.11 the same one under another name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

_module = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

loads: Callable[[str], dict[str, Any]] = _module.loads
