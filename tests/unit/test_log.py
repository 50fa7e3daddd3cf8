"""What becomes of lines that cannot be written."""

import json

from coworker.log import Log


class Disk:
    """A stream on a disk that is full now and then."""

    def __init__(self):
        self.full, self.lines = False, []

    def write(self, text):
        if self.full:
            raise OSError(28, "No space left on device")
        self.lines.append(json.loads(text))

    def flush(self):
        pass

    def isatty(self):
        return False


def test_how_many_lines_were_lost_is_said_when_lines_can_be_written_again(monkeypatch):
    disk = Disk()
    monkeypatch.setattr("sys.stderr", disk)
    log = Log(form="json")
    log.event("info", "before")
    disk.full = True
    for _ in range(3):
        log.event("error", "claim_left_open")
    disk.full = False
    log.event("info", "after")
    log.event("info", "later")
    assert [line["event"] for line in disk.lines] == ["before", "log_lines_lost", "after", "later"]
    assert disk.lines[1]["lines"] == 3
