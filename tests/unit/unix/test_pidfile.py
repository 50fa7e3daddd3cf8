"""One daemon a directory."""

import os
import subprocess
import sys

import pytest

from coworker.errors import ExitCode, SetupError
from coworker.unix.pidfile import LockFile, prepare_directory

HOLD = """
import sys
from pathlib import Path
from coworker.unix.pidfile import LockFile
lock = LockFile(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock; its pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def test_the_file_holds_the_pid_and_goes_with_the_lock(tmp_path):
    lock = LockFile(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    assert not (tmp_path / "lock").exists()


def test_a_second_one_is_refused_with_the_pid_of_the_first(tmp_path, other):
    with pytest.raises(SetupError, match=rf"another coworker \(pid {other.pid}\)") as caught:
        LockFile(tmp_path / "lock")
    assert caught.value.exit_code == ExitCode.CONFIG


def test_a_stale_file_is_taken_over(tmp_path, other):
    other.kill()
    other.wait()
    assert (tmp_path / "lock").read_text() == f"{other.pid}\n"
    LockFile(tmp_path / "lock").release()


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Its owner may remove it between our open and our lock."""
    real, path = os.open, tmp_path / "lock"
    removed = []

    def open_then_lose(*arguments):
        fd = real(*arguments)
        if not removed:
            removed.append(path.unlink())
        return fd

    monkeypatch.setattr(os, "open", open_then_lose)
    lock = LockFile(path)
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"state_dir = .*: cannot be made: .*; make it") as caught:
        prepare_directory(tmp_path / below, "state_dir")
    assert "\n" not in str(caught.value)
