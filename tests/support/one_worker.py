"""A test as the master of one real worker, so that it can say what is sent and see each message."""

import os
import time
from functools import partial

from coworker.child import child, site_child
from coworker.config.settings import SiteSettings
from coworker.ipc.link import Link
from coworker.master import children
from coworker.model import Role

PATIENCE = 20.0  # seconds


class OneWorker:
    """It forks a worker whose pipe is this command, started in `cwd`; its journal lies in `folder`."""

    def __init__(self, command, folder, cwd=None):
        birth = site_child.Birth(1, 1, Role.WORKER, SiteSettings("example", cwd, command), folder)
        body = partial(child.run, birth.name, partial(site_child.live, birth))
        self.pid, channel = children._fork(body, ())
        self.link = Link(channel)

    def until(self, kind):
        """The reports up to the first of this kind, which is the last of them."""
        reports, end = [], time.monotonic() + PATIENCE
        while not any(isinstance(report, kind) for report in reports):
            assert time.monotonic() < end, f"no {kind.__name__} after {reports}"
            reports += self.link.receive()
            assert not self.link.channel.closed, f"the worker left: {reports}"
            time.sleep(0.001)
        return reports

    def end(self):
        self.link.channel.close()
        os.waitpid(self.pid, 0)
