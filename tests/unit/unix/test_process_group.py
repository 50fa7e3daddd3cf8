import os
import signal
import subprocess

import pytest

from coworker.unix.process_group import group_is_empty, signal_group


@pytest.mark.parametrize("group", [1, 0, -1])
def test_groups_that_are_never_signalled(group):
    with pytest.raises(ValueError):
        signal_group(group, 0)


def test_a_group_of_zombies_counts_as_empty():
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    assert signal_group(process.pid, 0)
    assert not group_is_empty(process.pid)
    assert signal_group(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert group_is_empty(process.pid)
    process.wait()
    assert not signal_group(process.pid, 0)
    assert group_is_empty(process.pid)
