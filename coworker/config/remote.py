"""Whether a pipe's processes are out of our reach (rule 9)."""

from __future__ import annotations

import re

# Commands that start others where their processes cannot be seen: on another machine, in a container, or as
# children of somebody else's (of systemd, of a daemon).
COMMANDS = (
    *("ssh", "autossh", "docker", "docker-compose", "podman", "podman-compose", "nerdctl", "kubectl", "oc"),
    *("lxc", "lxc-attach", "incus", "pct", "machinectl", "systemd-run", "nsenter", "ddev", "lando"),
)
# Each at the start of the line, of a word, or of what is quoted (sh -c '…'), perhaps with its path, and with
# an argument. So also behind env, nice, sudo and the like.
_REMOTE = re.compile(
    rf"""(?: ^ | [\s;&|('"] ) (?: /\S*/ )? (?:
        (?: {"|".join(map(re.escape, COMMANDS))} )
      | drush (?:\.phar|\.php)? (?: \s+ -\S+ )* (?= \s+ @(?!self\b|none\b) )
      | wp (?:\.phar)? (?= \s+ (?: [^;&|]* \s )? (?: --ssh= | @\w ) )
    ) \s+ [^;&|\s]
    """,
    re.VERBOSE,
)


def seems_remote(command: str) -> bool:
    """Whether a shell line starts its PHP on another machine or in a container."""
    return _REMOTE.search(command) is not None
