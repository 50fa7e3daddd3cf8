"""What the tests of the settings share: a file to read, and the problems in it."""

import pytest

from coworker.config.load import load
from coworker.config.overrides import split_override
from coworker.errors import ConfigError, ExitCode

SITE = '[sites.example]\npipe = "cv pipe"\n'


def writer(directory):
    """A function that writes a settings file (text or bytes) into the directory and returns its path."""

    def write(text, name="c.toml"):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def read(path=None, *overrides, environ=None):
    pairs = [split_override(override) for override in overrides]
    return load(path, pairs, {"HOME": "/home/u", **(environ or {})}, euid=1000)


def problems(path=None, *overrides, environ=None):
    """The problems as they are listed, without the directory of the file."""
    with pytest.raises(ConfigError) as caught:
        read(path, *overrides, environ=environ)
    assert caught.value.exit_code == ExitCode.CONFIG
    listed = caught.value.problems
    assert all("\n" not in problem for problem in listed)
    return [problem.replace(f"{path.parent}/", "") if path else problem for problem in listed]
