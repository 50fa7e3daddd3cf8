"""Where queues are kept. A store is named by a URL as SQLAlchemy writes them."""

from __future__ import annotations

from coworker.errors import ConfigError
from coworker.queues.stores.base import QueueStore

__all__ = ["QueueStore", "open_store"]


def open_store(url: str, *, clock_offset: float = 0.0, busy_timeout: float = 5.0) -> QueueStore:
    """Open `sqlite:///relative`, `sqlite:////absolute` or `memory:` (which ends with the process).

    `clock_offset` is added to the clock, `busy_timeout` is how long to wait for another process; both in
    seconds. Raises ConfigError for a URL of another kind, StoreError when the store cannot be opened.
    """
    from coworker.queues.stores.sqlite import SqliteStore  # noqa: PLC0415  (only the store that is used is loaded)

    if url in ("memory:", "sqlite://", "sqlite:///:memory:"):
        return SqliteStore(":memory:", clock_offset, busy_timeout)
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteStore(url.removeprefix("sqlite:///"), clock_offset, busy_timeout)
    raise ConfigError(f"store {url!r} is not known: use sqlite:///FILE, sqlite:////absolute/FILE or memory:")
