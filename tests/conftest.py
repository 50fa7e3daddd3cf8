"""What every test may use: a real site in a temporary store, and real daemons on it."""

import signal
import sys
from pathlib import Path

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.daemon import Daemon
from support.site import Site

# A shell that starts us in the background has us ignore Ctrl-C, and so every program that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], database=None
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def site(tmp_path):
    """A Python site in a store of its own."""
    return Site(tmp_path / "site.db", tmp_path / "tasks.log")


@pytest.fixture
def other(tmp_path):
    """A second site."""
    return Site(tmp_path / "other.db", tmp_path / "other.log")


@pytest.fixture
def gate(tmp_path):
    """The file that `hold` tasks wait for."""
    return tmp_path / "gate"


@pytest.fixture
def daemon(tmp_path):
    """A function that starts `coworker run` with a settings file; what it started is ended afterwards."""
    started = []

    def start(settings, *, folder=tmp_path, **more):
        started.append(Daemon(folder / f"daemon{len(started)}", settings, **more))
        return started[-1]

    yield start
    for each in started:
        each.destroy()
