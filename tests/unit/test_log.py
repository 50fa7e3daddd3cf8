"""Bound loggers, and what becomes of lines that cannot be written."""

import json

import pytest

from coworker.errors import SetupError
from coworker.log import Log


class Disk:
    """A stream on a disk that is full now and then."""

    def __init__(self):
        self.full, self.lines, self._text = False, [], ""

    def write(self, text):
        if self.full:
            raise OSError(28, "No space left on device")
        self._text += text
        while "\n" in self._text:
            line, _, self._text = self._text.partition("\n")
            self.lines.append(json.loads(line))

    def flush(self):
        pass

    def isatty(self):
        return False


def test_how_many_lines_were_lost_is_said_when_lines_can_be_written_again(monkeypatch):
    disk = Disk()
    monkeypatch.setattr("sys.stderr", disk)
    log = Log(form="json").events
    log.event("info", "before")
    disk.full = True
    for _ in range(3):
        log.event("error", "claim_left_open")
    disk.full = False
    log.event("info", "after")
    log.event("info", "later")
    assert [line["event"] for line in disk.lines] == ["before", "log_lines_lost", "after", "later"]
    assert disk.lines[1]["lines"] == 3


def test_what_is_bound_is_said_in_every_line_and_follows_a_change_of_settings(monkeypatch, tmp_path):
    disk = Disk()
    monkeypatch.setattr("sys.stderr", disk)
    log = Log(form="json")
    bound = log.events.bind(site="a").bind(worker=1, pid=7)
    bound.event("info", "ready", version="6.13.3", boot_seconds=None)
    log.events.event("info", "plain")
    (ready, plain) = disk.lines
    del ready["timestamp"]
    assert ready == {
        "site": "a",
        "worker": 1,
        "pid": 7,
        "event": "ready",
        "level": "info",
        "version": "6.13.3",
    }
    assert "site" not in plain
    log.change("warning", "json", str(tmp_path / "log"))
    assert (bound.wants("info"), bound.wants("warning")) == (False, True)
    bound.event("info", "too_quiet")
    bound.event("error", "overdue")
    assert json.loads((tmp_path / "log").read_text())["worker"] == 1
    assert len(disk.lines) == 2


def test_settings_that_cannot_be_had_change_nothing(tmp_path):
    log = Log("info", "json", str(tmp_path / "log"))
    with pytest.raises(SetupError, match="no/such: No such file"):
        log.change("error", "text", "/no/such")
    log.events.bind(site="a").event("info", "still_here")
    assert json.loads((tmp_path / "log").read_text())["event"] == "still_here"
