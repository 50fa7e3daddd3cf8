"""The effects of a site, with no process in sight."""

from random import Random

from coworker.master.timers import Timers


class FakeLog:
    """An EventLog that keeps the names of events in `logged`, and events with all their fields in `lines`."""

    def __init__(self, logged=None, lines=None, bound=None):
        self.logged = [] if logged is None else logged
        self.lines = [] if lines is None else lines
        self._bound = bound or {}

    def bind(self, **fields):
        return FakeLog(self.logged, self.lines, {**self._bound, **fields})

    def wants(self, level):
        return True

    def event(self, level, name, /, **fields):
        self.logged.append(name)
        self.lines.append((level, name, {**self._bound, **fields}))


class FakeMaster:
    """Notes what it is asked."""

    def __init__(self, claims):
        self.timers, self.rng, self.log_looking = Timers(), Random(1), False
        self.log = FakeLog()
        self.claims = claims  # the directory of journals
        self.records, self.sent, self.signalled = [], [], []

    @property
    def logged(self):
        """The names of all events."""
        return self.log.logged

    def next_id(self):
        return len(self.records) + 1

    def spawn(self, record, settings, sink):
        self.records.append(record)
        return 1_000_000 + record.id

    def send(self, record, order):
        self.sent.append((record.id, order))

    def signal(self, record, number):
        self.signalled.append(record.id)
