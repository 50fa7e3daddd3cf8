"""Starting `coworker` when nothing should come of it, and as somebody else."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
IS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not IS_ROOT, reason="needs root")

# First all that a refusal imports, then nobody: Python itself may lie where nobody can read.
AS_NOBODY = f"""
import os, encodings.utf_8_sig, coworker.cli.run, coworker.master.daemon
os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
coworker.cli.main()
"""

# Root that becomes another user keeps the right to read everything, for the same reason, and no other.
READING = (
    *(
        "setpriv",
        "--securebits=+no_setuid_fixup",
        "--bounding-set=-all,+dac_read_search,+setuid,+setgid,+chown",
    ),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"),
)


def environment(**more):
    """The environment of a start; None takes a variable away."""
    env = {**os.environ, "COWORKER_ALLOW_ROOT": "1", **more}
    return {name: value for name, value in env.items() if value is not None}


def refusal(*arguments, as_nobody=False, **more):
    """The lines that a start which must fail says on stderr, "coworker: " cut off; `demand`: environment."""
    how = ["-c", AS_NOBODY] if as_nobody and IS_ROOT else ["-m", "coworker"]
    result = subprocess.run(
        [sys.executable, *how, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**more),
        check=False,
    )
    assert (result.returncode, result.stdout) == (78, ""), result
    lines = result.stderr.splitlines()
    assert all(line.startswith("coworker: ") for line in lines), result.stderr
    return [line.removeprefix("coworker: ") for line in lines]


def everybodys_directory():
    """A directory that every user can enter and write to; pytest's own are closed. For a fixture."""
    path = Path(tempfile.mkdtemp(prefix="coworker-test-"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def prefix_to_become_nobody():
    """The start of a command that runs Python as root, which can then become nobody and still work."""
    if _succeeds([sys.executable, "-c", "import coworker.cli, click"], user=NOBODY):
        return ()
    if not _succeeds([*READING, "true"]):
        pytest.skip("nobody can read this Python, and setpriv cannot help")
    return READING


def _succeeds(command, **more):
    try:
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL, **more).returncode == 0
    except OSError:
        return False
