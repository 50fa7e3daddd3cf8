"""Settling on a real store, with somebody else on another connection between any two of its statements.

A settlement of three rows is seven statements: one that reads, then for each row a SELECT and an UPDATE.
"""

from types import SimpleNamespace

import pytest
from support.queue_client import Client

from coworker.child import settle as settling
from coworker.child.site_clock import SiteClock
from coworker.civi.queues import ApiRows
from coworker.civiserver.site_store import open_site
from coworker.ipc.messages import Settle
from coworker.model import Lease, QueueInfo, Unsettled
from coworker.queues.task import Task

LEASE, START = 3600, 1_000_000.0
SELECTS, UPDATES = [1, 3, 5], [2, 4, 6]
READ = 0


class Overtaken:
    """The daemon's call of the site; `other` acts before the statement number `step`."""

    def __init__(self, client, step, other):
        self._client, self._other, self._left = client, other, step
        site = client.service.site
        for name in ("find", "update"):
            setattr(site, name, self._counted(getattr(site, name)))

    def _counted(self, statement):
        def execute(*arguments):
            self._left -= 1
            if self._left == -1:
                self._other()
            return statement(*arguments)

        return execute

    def api4(self, entity, action, params, *, timeout=None):
        return self._client.api4(entity, action, **params)


@pytest.fixture
def clock(monkeypatch):
    """The site's, and ours."""
    clock = SimpleNamespace(now=START)
    monkeypatch.setattr(settling, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def connect(tmp_path, clock):
    """A function that connects to the site."""
    opened = []

    def connect():
        site = open_site(f"sqlite:///{tmp_path}/site.db")
        site.queues.now = lambda: int(clock.now)
        opened.append(site)
        return Client(site)

    yield connect
    for site in opened:
        site.close()


@pytest.fixture
def claimed(connect):
    """A daemon's connection, and what it has claimed: three items."""
    client = connect()
    client.service.create_queue("q", batch_limit=3, retry_limit=1, retry_interval=60)
    client.service.push_all("q", [Task("a:b")] * 3)
    return client, [str(item.id) for item in client.service.claim("q")]


def order(ids, *, begun):
    """To settle what was claimed at the clock's start."""
    queue = QueueInfo("q", lease_time=LEASE, retry_interval=60, retry_limit=1)
    part = Unsettled(ids, []) if begun else Unsettled([], ids)
    return Settle(1, queue, [Lease(START)], part)


def rows(client):
    """{id: (run_count, release_time)}; the time in seconds since the epoch."""
    text = "SELECT id, run_count, release_time FROM civicrm_queue_item"
    return {str(row_id): tuple(values) for row_id, *values in client.service.store.file.rows(text)}


def settle(client, clock, ids, *, passed, step, other, begun=True):
    """{item: its fate}, of what was claimed at the clock's start; so many seconds pass first."""
    clock.now += passed
    answer = settling.settle(ApiRows(Overtaken(client, step, other)), order(ids, begun=begun), SiteClock())
    assert sorted(item for item, *_ in answer) == sorted(ids)
    return {item: fate for item, fate, _ in answer}


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(
    ("left", "passes", "step"),
    [
        *((5, 7, step) for step in [READ, *SELECTS, *UPDATES]),  # a lease about to end ends
        *((30, 32, step) for step in [READ, *SELECTS]),  # a long time passes, but not within an update
        *((11, 10, step) for step in UPDATES),  # the margin passes within an update
    ],
)
def test_what_another_has_claimed_meanwhile_is_never_freed(
    connect, clock, claimed, left, passes, step, begun
):
    client, ids = claimed
    other, his = connect(), {}

    def claim():
        clock.now += passes
        taken = [str(item.id) for item in other.service.claim("q")]
        his.update({item: row for item, row in rows(other).items() if item in taken})

    settle(client, clock, ids, passed=LEASE - left, step=step, other=claim, begun=begun)
    found = rows(client)
    if passes > left and not (begun and step > 4):  # the begun one is left alone: two updates are all
        assert sorted(his) == ids
    assert {item: found[item][1] for item in his} == {item: release for item, (_, release) in his.items()}
    # Only the count of the row that is being written just then is lost, and that harms nobody.
    assert sum(found[item][0] != count for item, (count, _) in his.items()) <= (step in UPDATES)


@pytest.mark.parametrize("step", [READ, *SELECTS])
def test_a_leased_item_that_a_browser_takes_meanwhile_is_left_to_it(connect, clock, claimed, step):
    """The AJAX runner takes leased items too (contract A4)."""
    client, ids = claimed
    browser = connect().service.store
    text = "UPDATE civicrm_queue_item SET run_count = run_count + 1, release_time = ? WHERE release_time > ?"

    def steal():
        browser.file.change(text, [browser.now() + 500, browser.now() + 100])

    fates = settle(client, clock, ids, passed=50, step=step, other=steal)
    stolen = [item for item, (_, release) in rows(client).items() if release == browser.now() + 500]
    assert {fates[item] for item in stolen} == {"left"}
    assert len(stolen) == 3 - step // 2


@pytest.mark.parametrize("step", [READ, *SELECTS, *UPDATES])
def test_an_item_that_ends_meanwhile_stays_ended_and_the_others_have_their_tries_back(
    connect, clock, claimed, step
):
    client, ids = claimed
    other = connect().service.store
    fates = settle(client, clock, ids, passed=50, step=step, other=lambda: other.remove("q", 2), begun=False)
    assert rows(client) == {ids[0]: (0, None), ids[2]: (0, None)}
    assert fates[ids[0]] == fates[ids[2]] == "given_back"


@pytest.mark.parametrize("step", [*SELECTS, *UPDATES])
def test_a_settlement_that_is_cut_off_anywhere_and_begun_anew_ends_as_if_it_had_not_been(
    connect, clock, claimed, step
):
    client, ids = claimed

    class CutOffError(BaseException):
        """Past whatever catches errors."""

    def cut_off():
        raise CutOffError

    with pytest.raises(CutOffError):
        settle(client, clock, ids, passed=50, step=step, other=cut_off)
    again = connect()
    fates = settle(again, clock, ids, passed=0, step=99, other=None)
    assert rows(again) == {ids[0]: (1, int(clock.now) + 60), ids[1]: (0, None), ids[2]: (0, None)}
    assert fates[ids[0]] == "try_counted"
