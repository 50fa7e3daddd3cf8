"""A task: a Python callable by name, its arguments, and whom it runs as."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Callback = Callable[..., Any]
_callbacks: dict[str, Callback] = {}


@dataclass(frozen=True, slots=True)
class Task:
    """What an item carries. `callback` is "module:function"; it is called as function(ctx, *arguments).

    `run_as` is {"contactId": N, "domainId": N} or None for the system.
    """

    callback: str
    arguments: list[Any] = field(default_factory=list)
    title: str | None = None
    run_as: dict[str, Any] | None = None

    @classmethod
    def from_data(cls, data: Any) -> Task | None:
        """Read the shape that claimItems shows. None if it is not a task: it can be kept, but not run."""
        if not isinstance(data, Mapping) or not isinstance(data.get("callback"), str):
            return None
        arguments = data.get("arguments") or []
        run_as = data.get("runAs") or None
        if not isinstance(arguments, list) or not isinstance(run_as, (dict, type(None))):
            return None
        return cls(data["callback"], arguments, data.get("title"), run_as)

    def to_data(self) -> dict[str, Any]:
        """Return the shape that claimItems shows, its keys in CiviCRM's order."""
        return {
            "callback": self.callback,
            "arguments": self.arguments,
            "title": self.title,
            "runAs": self.run_as,
        }


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The first argument of a task. `run_count` is 1 at the first try; `contact` None is the system."""

    queue: str
    item_id: str
    title: str | None
    run_count: int
    contact: int | None
    domain: int

    def log(self, text: str) -> None:
        """Write a line to the site's log (standard error)."""
        log_line(f"{self.queue}#{self.item_id}: {text}")


def log_line(text: str) -> None:
    """Write one line to standard error, whatever is in the text."""
    try:
        print(" ".join(text.split()), file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass  # nobody listens; a task must not fail for that


def parse_data(text: str | None) -> Any:
    """Return the payload of an item, None if it cannot be read."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def load_callback(name: str) -> Callback:
    """Return the callable behind "module:function" or "module:Class.method".

    Raises ImportError, AttributeError or TypeError, and whatever the module raises.
    """
    known = _callbacks.get(name)
    if known is not None:
        return known
    module, _, path = name.partition(":")
    if not module or not path:
        raise ImportError(f"callback {name!r} is not of the form module:function")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"callback {name!r} is not callable")
    _callbacks[name] = found
    return found  # type: ignore[no-any-return]
