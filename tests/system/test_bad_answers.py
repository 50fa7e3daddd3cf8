"""What runItems answers may be wrong in any way: it is named in the log, nothing stops, the books balance."""

import os
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.evidence import outcomes, run_once
from support.interpose import spoil
from support.tables import settings, site_table

OUTCOME = '"outcome"'  # found in the answers of runItems
BATCH = 3


@pytest.fixture
def spoilt(site, daemon, tmp_path):
    """A function that has two batches run, the first with its answer spoilt: (daemon, the ids)."""

    def run(deed, *, task="empty", batch=BATCH, **settings_of_queue):
        site.queue("a", batch_limit=batch, retry_limit=1, retry_interval=1, **settings_of_queue)
        ids = site.push("a", task, times=2 * batch)
        command = spoil(site, tmp_path / "spoilt", OUTCOME, deed)
        return daemon(settings(site_table(command), count=1)), ids

    return run


def wait_balanced(running, site, ids):
    """Every item ends once in the log, in an outcome or a settlement; returns {item: how}."""

    def ends():
        ended = [(e["item"], e["outcome"]) for e in running.events("task_done")]
        return ended + [(e["item"], e["fate"]) for e in running.events("settled")]

    wait_until(lambda: len(ends()) >= len(ids) and site.left() == 0, "each item has ended")
    assert sorted((item for item, _ in ends()), key=int) == ids
    assert run_once(site, ids)
    assert running.stop() == 0
    assert not running.events("claim_left_open")
    assert not running.events("bad_report")
    assert not running.events("child_crashed")
    return dict(ends())


def texts(running, event):
    return [e["text" if event == "odd_outcome" else "reason"] for e in running.events(event)]


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("missing", "item {1} is missing from the answer"),
        ("odd", "item {1} has unknown outcome 'fail'"),
        ("null", "item {1} has unknown outcome None"),
        ("number", "item {1} has unknown outcome 1"),
        ("nameless", "item {1} has unknown outcome None"),
        ("unknown", "item {1} is missing from the answer"),
    ],
)
def test_an_item_without_a_usable_outcome_is_named_and_settled_and_the_others_keep_theirs(
    site, spoilt, deed, said
):
    running, ids = spoilt(deed)
    ended = wait_balanced(running, site, ids)
    assert ended == {item: "finished" if item == ids[1] else "ok" for item in ids}
    assert said.format(*ids) in texts(running, "odd_outcome")
    assert [e["items"] for e in running.events("run_unanswered")] == [ids[1]]
    assert not running.events("pipe_lost"), "the pipe is not to blame"


@pytest.mark.parametrize("deed", ["extra", "unknown"])
def test_an_item_that_was_not_sent_is_named_and_ignored(site, spoilt, deed):
    running, ids = spoilt(deed)
    ended = wait_balanced(running, site, ids)
    assert "987654" not in ended
    assert "item 987654 was not sent, but has outcome 'ok'" in texts(running, "odd_outcome")
    assert not running.events("pipe_lost")


@pytest.mark.parametrize("deed", ["again", "contradicted"])
def test_an_item_that_is_answered_twice_ends_once(site, spoilt, deed):
    running, ids = spoilt(deed)
    wait_balanced(running, site, ids)
    assert not running.events("pipe_lost")


@pytest.mark.parametrize("deed", ["again", "contradicted"])
def test_an_item_that_is_answered_twice_is_named(site, spoilt, deed):
    running, ids = spoilt(deed)
    running.event("task_done", count=2 * BATCH)
    assert any(f"item {ids[1]}" in text for text in texts(running, "odd_outcome"))


@pytest.mark.parametrize("deed", ["integers", "strings", "reversed", "indexed"])
def test_other_ways_to_write_the_same_answer_are_understood(site, spoilt, deed):
    running, ids = spoilt(deed)
    assert wait_balanced(running, site, ids) == dict.fromkeys(ids, "ok")
    for event in ("odd_outcome", "run_unanswered", "settled", "pipe_lost"):
        assert not running.events(event)


def test_an_answer_that_names_nothing_at_all_has_all_settled(site, spoilt):
    running, ids = spoilt("nothing")
    ended = wait_balanced(running, site, ids)
    assert ended == {item: "finished" if item in ids[:BATCH] else "ok" for item in ids}
    said = texts(running, "odd_outcome")
    assert all(f"item {item} is missing from the answer" in said for item in ids[:BATCH])


@pytest.mark.parametrize("deed", ["shapeless", "text", "null_result"])
def test_an_answer_of_no_known_shape_costs_the_pipe_and_is_shown(site, spoilt, deed):
    running, ids = spoilt(deed)
    ended = wait_balanced(running, site, ids)
    assert ended == {item: "finished" if item in ids[:BATCH] else "ok" for item in ids}
    lost = running.event("pipe_lost", cause="protocol")
    assert "answer" in lost["reason"]


def test_an_item_that_failed_and_whose_outcome_got_lost_is_left_to_civicrms_own_retry(site, spoilt):
    running, ids = spoilt("nothing", task="fail", batch=1)
    wait_until(lambda: site.left() == 0, "the last tries")
    assert site.started().count(ids[0]) == site.started().count(ids[1]) == 2
    assert [e["fate"] for e in running.events("settled", item=ids[0])] == ["left"]
    assert outcomes(running.events("task_done")) == {ids[0]: ["delete"], ids[1]: ["retry", "delete"]}


@pytest.mark.parametrize("offset", [-3600, 3600])
def test_leases_are_judged_by_the_sites_clock_when_a_pipe_is_killed_in_the_middle_of_its_batch(
    site, daemon, gate, offset
):
    site.queue("a", batch_limit=4, retry_limit=1, retry_interval=2)
    (first,), (failed,) = site.push("a", "empty"), site.push("a", "fail_until", 1)
    (held,) = site.push("a", "hold", str(gate))
    (rest,) = site.push("a", "empty")
    running = daemon(settings(site_table(site.command(f"--clock-offset={offset}")), count=1))
    wait_until(lambda: held in site.started(), "the third of the batch runs")
    os.kill(int(site.written()[-1][4]), SIGKILL)
    gate.touch()
    running.event("settled", count=4)
    fates = {e["item"]: e["fate"] for e in running.events("settled")}
    assert fates == {first: "finished", failed: "left", held: "try_counted", rest: "given_back"}
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.started(), key=int) == [first, failed, failed, held, held, rest]
    assert not running.events("task_done", outcome="delete"), "no try was lost"
