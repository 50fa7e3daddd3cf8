"""Process groups: to signal one as a whole, and to see that nobody in it runs any more."""

from __future__ import annotations

import os

from coworker.unix.proc import everybody


def signal_group(group: int, signum: int) -> bool:
    """Send `signum` to every process of the group; False when there is none.

    Raises ValueError for a group that is none of ours to signal (0 would be our own).
    """
    if group <= 1:
        message = f"no process group of a child: {group}"
        raise ValueError(message)
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody is there, as another user
        return True
    return True


def group_is_empty(group: int) -> bool:
    """Whether no process of the group runs any more.

    Zombies count as gone: they run no code, and whoever adopted them may be slow to reap them.
    """
    return not signal_group(group, 0) or _only_zombies(group)


def _only_zombies(group: int) -> bool:
    """Whether /proc shows members of the group and all of them dead. Without a Linux /proc: False."""
    try:
        members = [seen for seen in everybody() if seen.group == group]
    except OSError:  # no descriptor is free to read it: nothing is proved
        return False
    # Nothing visible proves nothing: /proc may hide the processes of others (hidepid).
    return bool(members) and not any(seen.runs for seen in members)
