"""What the Python site refuses, and how it says so. All of it becomes JSON-RPC errors; the pipe lives on."""

from __future__ import annotations

from coworker.errors import CoworkerError
from coworker.queues.errors import StoreError

SERVER_ERROR = -32099  # CiviCRM's code for everything that is not a protocol error (contract A1)


class ApiError(CoworkerError):
    """The API call failed."""

    def __init__(self, message: str = "", code: int = SERVER_ERROR) -> None:
        super().__init__(message)
        self.code = code


def message_of(error: Exception) -> str:
    """Return what a client is told of an error: CiviCRM marks those of its database with `DB Error`."""
    return f"DB Error: {error}" if isinstance(error, StoreError) else str(error)
