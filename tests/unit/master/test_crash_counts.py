"""Items that bring down one worker after another."""

import json

import pytest

from coworker.master import crash_counts as poison
from coworker.master.crash_counts import CrashCounts


def test_the_limit_is_reached_by_the_next_crash():
    counts = CrashCounts()
    assert counts.would_be("q", ["1", "2"], 1) == ["1", "2"]
    assert counts.would_be("q", ["1", "2"], 2) == []
    assert [counts.count("q", "1"), counts.count("q", "1"), counts.count("other", "1")] == [1, 2, 1]
    assert counts.would_be("q", ["1", "2"], 3) == ["1"]
    assert counts.would_be("other", ["1"], 3) == []


def test_an_item_that_ended_otherwise_is_forgotten():
    counts = CrashCounts()
    counts.count("q", "1")
    counts.changed = False
    counts.forget("q", ["2"])
    assert not counts.changed
    counts.forget("q", ["1", "2"])
    assert counts.changed
    assert not counts
    assert counts.count("q", "1") == 1


def test_it_survives_a_file():
    counts = CrashCounts()
    counts.count("q", "1")
    again = CrashCounts(json.loads(json.dumps(counts.values())))
    assert again.values() == counts.values()
    assert again.would_be("q", ["1"], 2) == ["1"]


def test_after_a_week_it_is_forgotten(monkeypatch):
    counts = CrashCounts()
    counts.count("q", "1")
    now = poison.time.time() + poison.REMEMBERED + 1
    monkeypatch.setattr(poison.time, "time", lambda: now)
    counts.count("q", "2")
    assert list(counts.values()["q"]) == ["2"]


@pytest.mark.parametrize("garbage", [{"q": 1}, {"q": {"1": 1}}, {"q": {"1": ["x", 1]}}])
def test_garbage_raises_what_its_reader_expects(garbage):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        CrashCounts(garbage)
