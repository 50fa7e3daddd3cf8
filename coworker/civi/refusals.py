"""What the message of an error says: whose fault it is, and what may have been done before it."""

from __future__ import annotations

import re

# Contract A5, and the transcripts ("DB Error: no database selected" once the connection was killed).
# Native codes: 1100 not locked with LOCK TABLES, 2002 and 2003 cannot connect, 2006 gone away,
# 2013 lost connection, 4031 closed for inactivity.
_DATABASE_ERROR = re.compile(
    r"""\bDB[ ]Error\b
      | server[ ]has[ ]gone[ ]away
      | was[ ]not[ ]locked[ ]with[ ]LOCK[ ]TABLES
      | Lost[ ]connection
      | \b(?:nativecode=|error:?[ ]|errno:?[ ]|SQLSTATE\[\w+\][ ]\[)(?:1100|2002|2003|2006|2013|4031)\b
      | SQLSTATE\[08\w{3}\]
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CONTACT_REFUSAL = re.compile(
    r"^Contact ID \S+ is invalid|^Cannot login\b.*\b(user|account)\b.*\bblocked\b", re.IGNORECASE
)
_SETUP_REFUSAL = re.compile(
    r"Authx is not configured|Session is not trusted|mismatched session|Must specify principal"
    r"|^cannot act as",
    re.IGNORECASE,
)


def is_database_error(message: str) -> bool:
    """Whether an error of a call is the database's: the pipe may have lost its connection, or keep a lock.

    Such a pipe answers, but serves nobody any more: it must be replaced (contract A5).
    """
    return _DATABASE_ERROR.search(message) is not None


def does_not_exist(message: str) -> bool:
    """Whether an error says that this CiviCRM has no such entity or action."""
    return "does not exist" in message and message.lower().startswith("api ")


def is_contact_refusal(message: str) -> bool:
    """Whether a login was refused for the contact itself (unknown, blocked), not our set-up (contract A2)."""
    return _CONTACT_REFUSAL.search(message) is not None


def is_setup_refusal(message: str) -> bool:
    """Whether a login was refused before it could take effect (contract A2): the pipe is as it was."""
    return _SETUP_REFUSAL.search(message) is not None


def is_unrunnable(message: str) -> bool:
    """Whether runItems refused the queue as a whole: no item of it was begun (contract A3)."""
    return "outcomeCount=0" in message or "Cannot autorun" in message
