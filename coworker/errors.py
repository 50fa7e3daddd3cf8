"""Everything that can go wrong, as one tree. A class's docstring is its default message.

`exit_code` is what the command line exits with when the error reaches it.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command (README.md)."""

    OK = 0
    FAILED = 1
    USAGE = 2  # click's own
    UNAVAILABLE = 69  # EX_UNAVAILABLE: no daemon or no site to talk to
    CONFIG = 78  # EX_CONFIG


class CoworkerError(Exception):
    """Something failed."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ConfigError(CoworkerError):
    """The settings are wrong."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class SetupError(CoworkerError):
    """The machine does not allow what the settings ask for (a directory, a user, a second daemon)."""

    exit_code = ExitCode.CONFIG


class IllegalMoveError(CoworkerError):
    """A bug of ours: a worker or a claim was moved where it cannot go."""


class SiteError(CoworkerError):
    """The site did not do what was asked."""

    exit_code = ExitCode.UNAVAILABLE


class BootError(SiteError):
    """The pipe did not become ready (not found, no welcome, version too low, untrusted)."""

    retry_after: float = 0.0  # seconds that the site asks us to wait


class PipeGoneError(SiteError):
    """The pipe closed its output."""


class ProtocolError(SiteError):
    """The pipe answered something that is not an answer to what was asked: it cannot be used any more."""


class LeftBehindError(SiteError):
    """A task left something behind with which no other may run."""


class PipeTimeoutError(SiteError):
    """The pipe did not answer in time."""


class MemoryExceededError(SiteError):
    """The pipe takes more memory than it may."""


class CallError(SiteError):
    """The site answered with an error; the pipe can go on."""

    def __init__(self, message: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class EmptyAnswerError(CallError):
    """The site sent an empty line: it could not encode its own answer."""


class RequestTooLongError(CallError):
    """The request is longer than the pipe's bufferSize and was not sent."""


class ForbiddenError(CallError):
    """Whoever asks may not do this: nothing was begun."""
