"""The demo's judge: a check that cannot fail would be a defect."""

import pytest

from coworker.demo.diary import FAILED, OK, START, DiaryEntry
from coworker.demo.plan import QUEUES, Expected, choose_max_requests, share_out
from coworker.demo.summary import make_summary, percentile
from coworker.demo.verdict import Facts, judge

EXPECTED = {
    "1": Expected("fast"),
    "2": Expected("flaky", tries=3),
    "3": Expected("failing", tries=2, succeeds=False),
    "4": Expected("identities", contact=101),
    "5": Expected("linear"),
    "6": Expected("linear"),
}
LOGGED = {
    "1": ["ok"],
    "2": ["retry", "retry", "ok"],
    "3": ["retry", "delete"],
    "4": ["ok"],
    "5": ["ok"],
    "6": ["ok"],
}


def call(item, end=OK, run_count=1, contact=None, pid=7):
    """The two lines of one call; `end` None: it never came to its end."""
    queue = EXPECTED[item].queue if item in EXPECTED else "fast"
    whats = [START] if end is None else [START, end]
    return [DiaryEntry(what, item, queue, contact, pid, run_count, 0.0) for what in whats]


def good():
    """A diary by item in which all is as it should be."""
    return {
        "1": call("1"),
        "2": call("2", FAILED) + call("2", FAILED, 2) + call("2", OK, 3),
        "3": call("3", FAILED) + call("3", FAILED, 2),
        "4": call("4", contact=101),
        "5": call("5"),
        "6": call("6"),
    }


def verdict(diary, *, left=(), logged=LOGGED):
    entries = [entry for each in diary.values() for entry in each]
    return judge(Facts(EXPECTED, entries, set(left), logged, {"linear"}))


def totals(found):
    return {
        name: sum(getattr(tally, name) for tally in found.tallies.values())
        for name in ("tasks", "ok", "retried", "failed", "lost", "run_twice")
    }


def test_all_is_well():
    found = verdict(good())
    assert found.problems == []
    assert totals(found) == {"tasks": 6, "ok": 5, "retried": 3, "failed": 1, "lost": 0, "run_twice": 0}


@pytest.mark.parametrize(
    ("item", "entries"),
    [
        ("1", []),  # gone without having run
        ("1", call("1", None)),  # begun, never ended
        ("2", call("2", FAILED)),  # dropped after the first of three tries
        ("3", call("3", FAILED)),
    ],
)
def test_a_lost_task(item, entries):
    found = verdict(good() | {item: entries})
    assert f"lost: 1 ({EXPECTED[item].queue} {item})" in found.problems
    assert totals(found)["lost"] == 1
    assert_adds_up(found)


@pytest.mark.parametrize(
    ("item", "entries"),
    [
        ("1", call("1") + call("1")),  # twice for one claim
        ("1", call("1") + call("1", run_count=2, pid=8)),  # again after a success
        ("2", good()["2"] + call("2", OK, 4)),
        ("3", call("3", FAILED) + call("3", FAILED)),  # as many calls as wanted, but both for one claim
        ("3", good()["3"] + call("3", FAILED, 3)),
    ],
)
def test_a_task_that_is_run_twice(item, entries):
    found = verdict(good() | {item: entries})
    assert f"run twice: 1 ({EXPECTED[item].queue} {item})" in found.problems
    assert totals(found)["run_twice"] == 1
    assert_adds_up(found)


def test_two_calls_at_the_same_time_are_told_apart():
    first, second = call("2", FAILED, pid=7), call("2", FAILED, 2, pid=8)
    entries = [first[0], second[0], first[1], second[1], *call("2", OK, 3)]
    assert verdict(good() | {"2": entries}).problems == []


@pytest.mark.parametrize(("item", "contact"), [("4", 102), ("4", None), ("1", 101)])
def test_a_wrong_identity(item, contact):
    found = verdict(good() | {item: call(item, contact=contact)})
    assert found.problems == [f"run under a wrong identity: 1 ({EXPECTED[item].queue} {item})"]


@pytest.mark.parametrize(
    ("item", "entries"),
    [
        ("1", call("1", FAILED)),
        ("2", call("2", FAILED) + call("2", OK, 2)),
        ("3", call("3", FAILED) + call("3", OK, 2)),
    ],
)
def test_another_end(item, entries):
    found = verdict(good() | {item: entries})
    assert found.problems == [f"ended otherwise than made to: 1 ({EXPECTED[item].queue} {item})"]
    assert_adds_up(found)


def test_a_task_that_is_still_there_has_not_ended():
    found = verdict(good(), left={"1"})
    assert found.problems == ["lost: 1 (fast 1)", "still in the store: 1 (1)"]


def test_a_task_that_nobody_made():
    assert verdict(good() | {"99": call("99")}).problems == ["run, though nobody made them: 1 (99)"]


def test_what_the_daemon_says_is_compared():
    found = verdict(good(), logged=LOGGED | {"1": [], "3": ["delete", "delete"]})
    assert found.problems == ["logged by the daemon otherwise than made to end: 2 (fast 1, failing 3)"]


def test_a_retry_may_be_reported_before_the_try_before_it():
    assert verdict(good(), logged=LOGGED | {"3": ["delete", "retry"]}).problems == []


def test_a_linear_queue_out_of_order():
    found = verdict(good() | {"5": call("6"), "6": call("5")})
    assert found.problems == ["queue linear: task 5 began out of order"]


def test_a_linear_queue_with_two_at_a_time():
    (start5, end5), (start6, end6) = call("5"), call("6")
    found = verdict(good() | {"5": [start5, start6], "6": [end5, end6]})
    assert found.problems == ["queue linear: task 6 began while 5 ran"]


def assert_adds_up(found):
    for tally in found.tallies.values():
        assert tally.tasks == tally.ok + tally.failed + tally.lost


@pytest.mark.parametrize("total", [1, 2, 6, 7, 8, 13, 99, 101, 120, 1999, 2000, 2001, 20_000, 99_991])
def test_parts_add_up(total):
    parts = share_out(total, [queue.percent for queue in QUEUES])
    assert sum(parts) == total
    assert min(parts) >= (1 if total >= len(QUEUES) else 0)


def test_the_default_is_shared_out_as_the_plan_says():
    percents = [queue.percent for queue in QUEUES]
    assert sum(percents) == 100
    assert share_out(2000, percents) == [percent * 20 for percent in percents]


def test_workers_are_recycled_about_twice_but_not_all_the_time():
    assert choose_max_requests(2520, 4) == 315
    assert choose_max_requests(7, 8) == 25


def test_percentiles_are_by_nearest_rank():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert (percentile(values, 50), percentile(values, 95), percentile([2.0], 50)) == (3.0, 5.0, 2.0)
    assert percentile([], 50) is None


def test_the_report_says_what_was_found():
    entries = [
        DiaryEntry(START, "1", "fast", None, 7, 1, 100.5),
        DiaryEntry(OK, "1", "fast", None, 7, 1, 101.0),
    ]
    expected = {"1": Expected("fast"), "2": Expected("fast")}
    found = judge(Facts(expected, entries, frozenset(), {"1": ["ok"]}))
    summary = make_summary(
        found, entries, names=["fast", "slow"], enqueued={"fast": 99.0, "slow": 99.0}, started=100.0,
        workers=4, recycled=3,
    )  # fmt: skip
    shown = summary.to_json()
    assert not shown["passed"]
    assert (shown["tasks"], shown["ok"], shown["lost"], shown["run_twice"]) == (2, 1, 1, 0)
    assert (shown["seconds"], shown["recycled"], shown["tasks_per_second"]) == (1.0, 3, 1.0)
    fast, slow = shown["queues"]
    assert (fast["name"], fast["tasks_per_second"], fast["wait_p50"]) == ("fast", 2.0, 1.5)
    assert (slow["tasks"], slow["tasks_per_second"], slow["wait_p50"]) == (0, None, None)
