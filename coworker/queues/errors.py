"""What the Python site can refuse. Both become JSON-RPC errors; a pipe lives on after either."""

from __future__ import annotations

from coworker.errors import CoworkerError

SERVER_ERROR = -32099  # CiviCRM's code for everything that is not a protocol error (contract A1)


class ApiError(CoworkerError):
    """The API call failed."""

    def __init__(self, message: str = "", code: int = SERVER_ERROR) -> None:
        super().__init__(message)
        self.code = code


class StoreError(CoworkerError):
    """The queue store cannot be used."""

    def __str__(self) -> str:
        return f"DB Error: {super().__str__()}"
