"""The effects of a site, with no process in sight."""

from random import Random

from coworker.master.timers import Timers


class FakeMaster:
    """Notes what it is asked."""

    def __init__(self, claims):
        self.timers, self.rng, self.log_looking = Timers(), Random(1), False
        self.claims = claims  # the directory of journals
        self.records, self.sent, self.logged, self.signalled = [], [], [], []

    def next_id(self):
        return len(self.records) + 1

    def spawn(self, site, record, settings):
        record.pid = 1_000_000 + record.id
        self.records.append(record)

    def send(self, record, order):
        self.sent.append((record.id, order))

    def signal(self, record, number):
        self.signalled.append(record.id)

    def wants(self, level):
        return True

    def log(self, level, event, /, **fields):
        self.logged.append(event)
