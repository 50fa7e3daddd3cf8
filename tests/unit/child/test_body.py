"""Orders that end a child, and what the master hears of them first."""

from collections import deque
from types import SimpleNamespace

import pytest

from coworker.child.body import Body
from coworker.errors import CallError
from coworker.ipc.messages import ClaimFailed, Look, Retire, Work
from coworker.model import QueueInfo

WORK = Work(QueueInfo("a"), seconds=1.0)


class Link:
    def __init__(self, *orders):
        self.inbox, self.said = deque(orders), []

    def post(self, report):
        self.said.append(report)

    def flush(self):
        pass


class Failing(Body):
    """A body to which one thing happens whatever it is ordered to do."""

    def __init__(self, error, *orders):
        self.link, self.error = Link(*orders), error
        self.client = SimpleNamespace(pipe=SimpleNamespace(gone=False))

    def serve_order(self, order):
        raise self.error


def test_an_error_that_nobody_expected_ends_the_child_and_has_the_queue_back_off():
    body = Failing(ValueError("embedded null character"), WORK)
    with pytest.raises(ValueError, match="null"):
        body.serve()
    assert body.link.said == [ClaimFailed("a", "ValueError: embedded null character")]


def test_an_order_without_a_queue_has_no_queue_back_off():
    body = Failing(KeyError("x"), Look([]))
    with pytest.raises(KeyError):
        body.serve()
    assert body.link.said == []


def test_an_error_of_the_site_is_told_elsewhere():
    body = Failing(CallError("no such queue"), WORK)
    with pytest.raises(CallError):
        body.serve()
    assert body.link.said == []


def test_the_order_to_retire_comes_after_all_others():
    body = Failing(CallError("served first"), Retire("surplus"), WORK)
    with pytest.raises(CallError):
        body.serve()
