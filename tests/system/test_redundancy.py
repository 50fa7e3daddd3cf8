"""Several daemons on one site: one dies, the others go on, and what it had claimed is not lost."""

import os
import random
import time
from signal import SIGKILL

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import repeated, run_once
from support.tables import settings, site_table


def start(daemon, site, number=1, *, share=None, **workers):
    """So many daemons, each with its own directories; all their children are ready."""
    limits = {"count": 1, "max_requests": 0, **workers}
    started = [daemon(settings(site_table(site), **limits), share=share) for _ in range(number)]
    for each in started:
        each.event("ready", count=limits["count"] + 1)
    return started


def pipe_of(site, item):
    """The pid of the pipe that began this item last, 0 if none has."""
    return next((int(w[4]) for w in reversed(site.written()) if w[:2] == ["start", item]), 0)


def who_runs(site, daemons, item):
    """The daemon that began this item."""
    pid = wait_until(lambda: pipe_of(site, item), f"item {item} runs")
    return next(each for each in daemons if pid in [process.pid for process in each.tree()])


def hold_batch(site, gate, *, items=3, **settings_of_queue):
    """A batch whose second item is held: (the first, the held one, those that are never begun)."""
    site.queue("held", batch_limit=items + 1, status="draft", **settings_of_queue)
    (first,), (held,) = site.push("held", "empty"), site.push("held", "hold", str(gate))
    rest = site.push("held", "empty", times=items - 1)
    site.execute("UPDATE civicrm_queue SET status = 'active'")  # or a daemon claims when half of it is there
    return first, held, rest


def test_one_daemon_of_three_dies_and_the_others_go_on_at_once_while_its_claims_wait_for_their_leases(
    site, daemon, gate
):
    site.queue("a")
    daemons = start(daemon, site, 3)
    first, held, rest = hold_batch(site, gate, lease_time=10, retry_limit=1)
    dead = who_runs(site, daemons, held)
    lease_ends = site.rows()[held][1]
    dead.kill_all()
    gate.touch()
    ids = site.push("a", "empty", times=30)
    wait_until(lambda: site.left("a") == 0, "all others")
    left = site.rows("held")
    assert left == dict.fromkeys([held, *rest], (1, lease_ends)) or time.time() >= lease_ends
    wait_until(lambda: site.left() == 0, "what the dead one had claimed")
    assert time.time() >= lease_ends
    assert sorted(site.ended(), key=int) == sorted([first, held, *rest, *ids], key=int)
    assert repeated(site.started()) == [held]
    for each in daemons:
        if each is not dead:
            assert not each.events("boot_failed")
            assert not each.events("settled"), "what another has claimed is not theirs to settle"


def test_what_a_dead_daemon_ran_without_a_retry_left_is_not_run_again_by_the_others(site, daemon, gate):
    daemons = start(daemon, site, 2)
    _, held, rest = hold_batch(site, gate, lease_time=6, retry_limit=0, error="delete")
    dead = who_runs(site, daemons, held)
    dead.kill_all()
    gate.touch()
    (other,) = [each for each in daemons if each is not dead]
    other.event("task_done", item=held, outcome="delete")
    assert site.started().count(held) == 1
    # Nobody knows that these were not begun: CiviCRM counts a try when an item is claimed.
    assert {e["item"] for e in other.events("task_done", outcome="delete")} == {held, *rest}


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("retry_limit", [0, 1])
def test_a_daemon_that_is_started_again_settles_its_claims_long_before_their_leases_end(
    site, daemon, gate, retry_limit, others
):
    daemons = start(daemon, site, 1 + others)
    first, held, rest = hold_batch(site, gate, lease_time=3600, retry_limit=retry_limit, error="delete")
    killed = who_runs(site, daemons, held)
    killed.kill_all()
    assert site.rows() == dict.fromkeys([held, *rest], (1, site.rows()[held][1]))
    gate.touch()
    (again,) = start(daemon, site, 1, share=killed)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started().count(held) == 1 + retry_limit
    assert set(site.ended()) == {first, *rest, *([held] if retry_limit else [])}
    assert repeated(site.started()) == ([held] if retry_limit else [])
    fates = {e["item"]: e["fate"] for e in again.events("settled")}
    assert fates == {first: "finished", held: "try_counted", **dict.fromkeys(rest, "given_back")}


def test_every_worker_s_claim_is_settled_by_a_daemon_that_is_started_again(site, daemon, gate):
    site.queue("a", batch_limit=4, lease_time=3600, retry_limit=1)
    ids = site.push("a", "hold", str(gate), times=12)
    (killed,) = start(daemon, site, 1, count=3, boot_budget=3)
    wait_until(lambda: len(site.started()) == 3, "three batches run")
    begun = site.started()
    killed.kill_all()
    gate.touch()
    start(daemon, site, 1, share=killed, count=3, boot_budget=3)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.ended(), key=int) == ids
    assert sorted(repeated(site.started())) == sorted(begun)


def test_two_daemons_whose_pipes_are_killed_at_random_never_run_one_item_twice(site, daemon, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    site.queue("a", batch_limit=3, lease_time=8, retry_limit=20)
    daemons = start(daemon, site, 2, count=2, boot_budget=2)
    ids = site.push("a", "alone", str(tmp_path), 0.03, times=200)
    killed = set()
    for number in range(1, 9):
        wait_until(lambda at=20 * number: len(site.started()) >= at, "work goes on")
        pid = int(rng.choice(site.written()[-4:])[4])
        if pid not in killed and psutil.pid_exists(pid):
            killed.add(pid)  # before it dies: nobody may begin its item again until then
            os.kill(pid, SIGKILL)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert killed
    assert not [w for w in site.written() if w[0] == "overlap"]
    assert set(site.ended()) == set(ids)
    runs = {item: [w[4] for w in site.written() if w[:2] == ["start", item]] for item in ids}
    again = {pid for pids in runs.values() for pid in pids[:-1]}
    assert again <= set(map(str, killed)), "only what was killed may begin again"
    assert not any(each.events("overdue") for each in daemons)


def test_a_task_that_outlasts_a_short_lease_is_ended_before_another_daemon_begins_it(site, daemon, tmp_path):
    site.queue("a", lease_time=2, retry_limit=2, error="delete")
    (long,) = site.push("a", "alone", str(tmp_path), 600)
    start(daemon, site, 3, crash_limit=0)
    wait_until(lambda: site.left() == 0, "its last try")
    assert site.started() == [long] * 3
    assert not [w for w in site.written() if w[0] == "overlap"]


def test_many_short_batches_of_three_daemons_run_each_item_once(site, daemon):
    site.queue("a", batch_limit=2, lease_time=20)
    site.queue("line", type="Sql", lease_time=20)
    daemons = start(daemon, site, 3, count=2, boot_budget=2)
    ids, steps = site.push("a", "empty", times=600), site.push("line", "empty", times=60)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, [*ids, *steps])
    assert site.started("line") == steps
    wait_until(lambda: sum(len(each.events("task_done")) for each in daemons) == 660, "each is logged once")
