"""What the title of the master says, and how seldom it is written."""

import time

import pytest
import setproctitle

from coworker.master.title import MOST, MasterTitle
from coworker.master.views import SiteStatus
from coworker.model import MasterPhase

RUNNING = MasterPhase.RUNNING


@pytest.fixture
def written(monkeypatch):
    """All titles that were written."""
    titles = []
    monkeypatch.setattr(setproctitle, "setproctitle", titles.append)
    return titles


@pytest.fixture
def clock(monkeypatch):
    """Monotonic second 100 is noon."""
    noon = time.mktime((2026, 3, 4, 12, 0, 0, 0, 0, -1))
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(time, "time", lambda: noon)


def status(name="a", *, down=None, why="", held=None, holds=()):
    return SiteStatus(name, RUNNING, down, why, held, holds)


def test_a_site_that_is_worked_is_not_worth_a_word(written):
    MasterTitle("/etc/coworker.toml").show([status()])
    assert written == ["coworker: master [/etc/coworker.toml]"]


def test_it_says_which_are_down_or_held_since_when_and_why(written, clock):
    down, held = status("a", down=40.0, why="no\n  PHP"), status("c", held=95.0, holds=("Staging", "more"))
    MasterTitle("x").show([down, status("b"), held])
    assert written == [
        (
            "coworker: master [x]  a down since 2026-03-04T11:59:00: no PHP"
            "  c held since 2026-03-04T11:59:55: Staging"
        )
    ]


def test_down_is_said_rather_than_held(written, clock):
    MasterTitle("x").show([status(down=100.0, why="no PHP", held=1.0, holds=("Staging",))])
    assert "down" in written[0]
    assert "held" not in written[0]


@pytest.mark.parametrize("many", [{"down": 1.0, "why": "x" * 999}, {"held": 1.0, "holds": ("x" * 999,)}])
def test_a_reason_has_its_length(written, many):
    MasterTitle("x").show([status(**many)])
    assert MOST / 2 < written[0].count("x") <= MOST + 60
    assert len(written[0]) < 250


def test_it_is_written_only_on_change(written):
    title = MasterTitle("x")
    for each in (
        [status()],
        [status()],
        [status(down=1.0, why="y")],
        [status(down=1.0, why="y")],
        [status()],
    ):
        title.show(each)
    assert ["down" in text for text in written] == [False, True, False]


def test_a_name_that_is_no_text_can_be_shown(written):
    MasterTitle("/etc/\udcff.toml").show([])
    assert written == ["coworker: master [/etc/\\udcff.toml]"]
