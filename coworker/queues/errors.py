"""What can go wrong with queues."""

from __future__ import annotations

from coworker.errors import CoworkerError


class StoreError(CoworkerError):
    """The queue store cannot be used."""
