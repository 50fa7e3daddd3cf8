"""When a worker measures its memory, what it says, and how the kernel's own kills are told apart."""

import pytest
from support.cgroup import fake_cgroup

from coworker.child import memory_gauge as gauge
from coworker.child.memory_gauge import MIB, MemoryGauge
from coworker.civi.pipe import PipeEndedError
from coworker.errors import MemoryExceededError
from coworker.ipc.messages import Note, Spent
from coworker.model import ExitStatus


class FakeLink:
    def __init__(self):
        self.posted = []

    def post(self, report):
        self.posted.append(report)


@pytest.fixture
def cgroup(tmp_path):
    return fake_cgroup(tmp_path)


def gauge_that_finds(mebibytes, monkeypatch):
    found = MemoryGauge(1, FakeLink(), 100, 200)
    monkeypatch.setattr(gauge, "tree_rss", lambda _pid: mebibytes * MIB)
    return found


def test_it_is_measured_at_most_once_a_second(monkeypatch):
    meter = gauge_that_finds(50, monkeypatch)
    asked = []
    monkeypatch.setattr(gauge, "tree_rss", lambda pid: asked.append(pid) or 0)
    now = [1000.0]
    monkeypatch.setattr(gauge.time, "monotonic", lambda: now[0])
    for step in (0.0, 0.5, 0.4, 0.2, 0.5):
        now[0] += step
        meter.while_busy()
        meter.after_batch()
    assert asked == [1, 1]
    assert meter.patience() == pytest.approx(0.5)  # nobody knows yet what the last batch left
    now[0] += 0.5
    meter.after_batch()
    assert meter.patience() is None


def test_too_much_is_told_once_and_far_too_much_ends_the_pipe(monkeypatch):
    meter = gauge_that_finds(150, monkeypatch)
    monkeypatch.setattr(gauge, "INTERVAL", 0.0)
    meter.while_busy()
    assert meter.link.posted == []  # the task that runs may end
    meter.after_batch()
    meter.after_batch()
    assert meter.link.posted == [
        Note("notice", "memory_grown", {"mebibytes": 150, "max_memory": 100}),
        Spent("max_memory"),
    ]
    monkeypatch.setattr(gauge, "tree_rss", lambda _pid: 201 * MIB)
    with pytest.raises(MemoryExceededError, match="201 MiB, hard_memory is 200"):
        meter.while_busy()


@pytest.mark.parametrize("status", [ExitStatus(signal=9), ExitStatus(code=137)])
def test_the_end_of_a_pipe_is_the_kernels_doing_only_if_it_counted_one(cgroup, status):
    watch, events = cgroup
    meter = MemoryGauge(1, FakeLink(), 100, 200)
    meter._oom = watch
    error = PipeEndedError("the pipe closed its output", status)
    assert meter.explain(error) is error
    events.write_text("oom_kill 3\n")
    assert "killed by the kernel" in str(meter.explain(error))
    events.write_text("oom_kill 4\n")
    assert isinstance(meter.explain(error), MemoryExceededError)
    events.write_text("oom_kill 5\n")
    other = PipeEndedError("the pipe closed its output", ExitStatus(code=1))
    assert meter.explain(other) is other
