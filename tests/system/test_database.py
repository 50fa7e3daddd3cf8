"""The site's database goes away in mid-work, and queues that give nothing."""

import pytest
from support.daemon import wait_until
from support.evidence import repeated, run_once, seconds
from support.tables import settings, site_table

HIDE = "ALTER TABLE civicrm_queue_item RENAME TO hidden"
SHOW = "ALTER TABLE hidden RENAME TO civicrm_queue_item"


def test_the_database_goes_away_while_nothing_is_done_and_comes_back(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(site), count=2))
    running.event("ready", count=3)
    site.execute(HIDE)
    running.event("pipe_lost", role="control", cause="database")
    assert "no such table" in running.event("boot_failed", failures=2)["reason"]
    site.execute(SHOW)
    ids = site.push("a", "empty", times=5)
    running.event("task_done", count=5)
    assert run_once(site, ids)
    assert running.stop() == 0


def test_the_database_goes_away_while_tasks_run_and_no_claim_is_lost(site, daemon, gate):
    site.queue("a", batch_limit=3, retry_limit=0, error="delete")
    site.queue("b", batch_limit=3, retry_limit=1)
    mine = site.push("a", "hold", str(gate), times=9)
    more = site.push("b", "hold", str(gate), times=9)
    running = daemon(settings(site_table(site), count=2))
    wait_until(lambda: len(site.started()) == 2, "two batches run")
    site.execute(HIDE)
    gate.touch()
    for queue in ("a", "b"):
        running.event("pipe_lost", queue=queue, cause="database")
    site.execute(SHOW)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert set(site.started()) == {*mine, *more}
    # The first of each batch ended, but its row could not be removed: only a retry may run it again.
    assert set(repeated(site.started())) <= {more[0]}
    assert running.process.poll() is None


def test_a_database_that_goes_away_costs_pipes_and_at_most_the_tries_of_what_they_ran(site, daemon):
    site.queue("a", batch_limit=2)
    ids = site.push("a", "nap", 0.01, times=60)
    running = daemon(settings(site_table(site), count=2))
    wait_until(lambda: len(site.started()) > 10, "work goes on")
    site.execute(HIDE)
    running.event("pipe_lost", cause="database")
    site.execute(SHOW)
    wait_until(lambda: site.left() == 0, "all items gone")
    # An error of runItems does not tell whether its first item ran: it counts as begun, its try is spent
    # (rules 4 and 8), and with no retry left CiviCRM deletes it at the next claim.
    begun = {event["item"] for event in running.events("settled", fate="try_counted")}
    assert repeated(site.started()) == []
    assert set(ids) - set(site.started()) <= begun
    assert len(begun) <= 2


def test_a_database_that_takes_no_claims_costs_one_pipe_now_and_then_until_it_does(site, daemon):
    site.queue("a")
    site.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON civicrm_queue_item BEGIN SELECT RAISE(FAIL, 'disk full'); END"
    )
    ids = site.push("a", "empty", times=5)
    running = daemon(settings(site_table(site), count=2))
    running.event("claim_failed", queue="a", failures=2)
    lost = running.events("pipe_lost")
    assert len(lost) <= 3
    assert all(e["cause"] == "database" and "disk full" in e["reason"] for e in lost)
    site.execute("DROP TRIGGER full")
    running.event("task_done", count=5)
    assert run_once(site, ids)
    assert len(running.events("pipe_lost")) <= 3


def test_a_queue_whose_claims_always_fail_backs_off_alone(site, daemon):
    site.queue("bad", type="Sql", batch_limit=2)
    site.queue("good")
    bad = site.push("bad", "empty", times=3)
    good = site.push("good", "nap", 0.02, times=50)
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.left("good") == 0, "the good queue is done")
    running.event("claim_failed", count=2)
    failed = running.events("claim_failed")
    assert [e["failures"] for e in failed] == [1, 2]
    assert all(e["queue"] == "bad" and "does not support batching" in e["reason"] for e in failed)
    assert [e["level"] for e in failed] == ["warning", "debug"]  # said once
    assert seconds(failed[1]) - seconds(failed[0]) >= 0.7
    assert failed[1]["retry_seconds"] >= 1.5
    assert site.rows("bad") == dict.fromkeys(bad, (0, None))
    assert run_once(site, good)
    assert not running.events("pipe_lost")


def test_a_queue_of_an_unknown_runner_backs_off_and_keeps_its_items(site, daemon):
    site.queue("odd", runner="elsewhere", batch_limit=2)
    site.queue("good")
    odd = site.push("odd", "empty", times=4)
    good = site.push("good", "empty", times=10)
    running = daemon(settings(site_table(site), count=1))
    running.event("claim_failed", queue="odd")
    running.event("settled", count=2, fate="given_back")
    wait_until(lambda: site.left("good") == 0, "the good queue is done")
    assert run_once(site, good)
    running.event("claim_failed", queue="odd", failures=3)
    for event in ("claim_failed", "run_unanswered"):
        levels = [line["level"] for line in running.events(event, queue="odd")]
        assert set(levels[1:]) == {"debug"} != {levels[0]}, "it is said once"
    assert [line["level"] for line in running.events("settled", queue="odd")][:2] == ["warning"] * 2
    assert {line["level"] for line in running.events("settled", queue="odd")[2:]} <= {"debug"}
    running.stop()  # in the middle of the next try, maybe
    assert site.rows("odd") == dict.fromkeys(odd, (0, None))
    assert "outcomeCount=0" in running.events("run_unanswered")[0]["reason"]


def pause(site, paused):
    """The site's setting queue_paused."""
    service = site.service
    service.site.set_setting(1, "queue_paused", paused)
    service.site.close()


def test_a_paused_site_is_tried_seldom_said_once_and_goes_on_when_resumed(site, daemon):
    site.queue("a")
    pause(site, paused=True)
    ids = site.push("a", "empty", times=5)
    running = daemon(settings(site_table(site), log={"looking": True}, count=2))
    running.event("queue_gives_nothing", queue="a")
    running.event("looked", count=30)
    assert len(running.events("queue_gives_nothing")) == 1
    pause(site, paused=False)
    running.event("task_done", count=5)
    assert run_once(site, ids)
    assert not running.events("claim_failed")


@pytest.mark.parametrize("status", ["draft", "aborted"])
def test_a_queue_that_is_switched_off_in_mid_work_gives_nothing_more_until_it_is_active_again(
    site, daemon, gate, status
):
    site.queue("a", batch_limit=2)
    ids = site.push("a", "hold", str(gate), times=6)
    running = daemon(settings(site_table(site), log={"looking": True}, count=1))
    wait_until(lambda: site.started() == ids[:1], "the first batch runs")
    site.execute("UPDATE civicrm_queue SET status = ?", status)
    gate.touch()
    running.event("task_done", count=2)
    looks = len(running.events("looked"))
    running.event("looked", count=looks + 3)
    assert site.rows("a") == dict.fromkeys(ids[2:], (0, None))
    site.execute("UPDATE civicrm_queue SET status = 'active'")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)


def test_after_an_abort_the_rest_of_the_batch_goes_back_and_other_queues_go_on(site, daemon):
    site.queue("a", batch_limit=4, error="abort")
    site.queue("b")
    (failing,) = site.push("a", "fail")
    rest = site.push("a", "empty", times=6)
    other = site.push("b", "nap", 0.01, times=30)
    running = daemon(settings(site_table(site), count=2))
    wait_until(lambda: site.left("b") == 0, "the other queue is done")
    running.event("task_done", item=failing, outcome="abort")
    running.event("task_done", count=3, outcome="relinquish")
    rows = site.rows("a")
    assert {item: rows[item] for item in rest} == dict.fromkeys(rest, (0, None))
    assert rows[failing][0] == 1
    assert sorted(site.started("b")) == sorted(other)
    assert site.started("a") == [failing]
