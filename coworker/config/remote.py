"""Whether a pipe's processes are out of our reach (rule 9)."""

from __future__ import annotations

import re

# Each is a command: at the start of the line or of a word, perhaps with its path, and with an argument.
_REMOTE = re.compile(
    r"""(?: ^ | [\s;&|(] ) (?: /\S*/ )? (?:
        (?: ssh | docker | podman | kubectl | lxc | incus | ddev | lando )
      | drush (?:\.phar|\.php)? (?: \s+ -\S+ )* (?= \s+ @(?!self\b|none\b) )
      | wp (?:\.phar)? (?= \s+ (?: [^;&|]* \s )? (?: --ssh= | @\w ) )
    ) \s+ [^;&|\s]
    """,
    re.VERBOSE,
)


def looks_remote(command: str) -> bool:
    """Whether a shell line starts its PHP on another machine or in a container."""
    return _REMOTE.search(command) is not None
