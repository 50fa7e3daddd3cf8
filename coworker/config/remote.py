"""Whether a pipe's processes are out of our reach (design, section 4, rule 9)."""

from __future__ import annotations

import re

_REMOTE = re.compile(
    r"""(?: ^ | [\s;&|(/] ) (?: ssh | docker | podman | kubectl | lxc | incus | ddev | lando ) \s
      | (?: ^ | [\s;&|(/] ) drush (?:\.phar|\.php)? (?: \s+ -\S+ )* \s+ @(?!self\b|none\b) [\w.-]+
      | (?: ^ | [\s;&|(/] ) wp (?:\.phar)? \s (?: [^;&|]* \s )? (?: --ssh= | @[\w.-]+ )
    """,
    re.VERBOSE,
)


def looks_remote(command: str) -> bool:
    """Whether a shell line starts its PHP on another machine or in a container."""
    return _REMOTE.search(command) is not None
