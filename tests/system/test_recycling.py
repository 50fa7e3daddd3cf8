"""Workers are replaced before they get old, and nobody notices."""

import psutil
from support.daemon import wait_until
from support.evidence import fewest_ready, most_booting, run_once
from support.processes import zombies
from support.tables import settings, site_table


def worker_events(running, event, **fields):
    return [e for e in running.events(event, **fields) if "worker" in e]


def test_a_worker_is_replaced_by_count_and_its_successor_is_ready_before_it_leaves(site, daemon):
    site.queue("a")
    ids = site.push("a", "nap", 0.01, times=150)
    running = daemon(settings(site_table(site), count=1, max_requests=20, max_age=0))
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    events = running.events()
    leaving = [e for e in events if e["event"] == "retiring"]
    assert leaving
    for number, retiring in enumerate(leaving):
        assert retiring["reason"] == "max_requests"
        readies = [e for e in events[: events.index(retiring)] if e["event"] == "ready" and "worker" in e]
        assert len(readies) >= number + 2
    assert fewest_ready(events, 1) == 1
    running.event("gone", reason="max_requests")
    assert all(e["done"] >= 18 for e in running.events("gone", reason="max_requests"))


def test_the_limit_of_items_differs_between_workers_so_that_they_do_not_leave_together(site, daemon):
    site.queue("a", batch_limit=1)
    ids = site.push("a", "empty", times=700)
    running = daemon(settings(site_table(site), count=2, max_requests=100, overlap=False))
    running.event("gone", count=6, reason="max_requests")
    served = [e["done"] for e in running.events("gone", reason="max_requests")]
    assert all(90 <= done <= 100 for done in served)
    assert len(set(served)) > 1
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)


def test_workers_are_replaced_by_age_while_others_go_on(site, daemon):
    site.queue("a")
    ids = site.push("a", "nap", 0.02, times=120)
    running = daemon(settings(site_table(site), count=2, max_age=1, max_requests=0))
    running.event("gone", count=3, reason="max_age")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert fewest_ready(running.events(), 2) == 2


def test_four_workers_of_the_same_age_roll_one_by_one(site, daemon):
    running = daemon(settings(site_table(site), count=4, max_age=1.5, max_requests=0, boot_budget=1))
    running.event("gone", count=4, reason="max_age")
    events = running.events()
    assert fewest_ready(events, 4) == 4
    assert most_booting(worker_events(running, "ready")) == 1


def test_never_more_than_boot_budget_of_eight_workers_boot_at_once(site, daemon):
    running = daemon(settings(site_table(site.command("--boot-cost 50")), count=8, boot_budget=2), wait=None)
    wait_until(lambda: len(worker_events(running, "ready")) == 8, "eight workers are ready")
    assert most_booting(worker_events(running, "ready")) == 2


def test_idle_workers_leave_down_to_min_idle_and_come_again_with_work(site, daemon, tmp_path):
    site.queue("a")
    running = daemon(settings(site_table(site), count=3, min_idle=1, idle_timeout=0.3, boot_budget=3))
    running.event("gone", count=2, reason="idle")
    assert len(running.workers()) == 1
    gate = tmp_path / "gate"
    ids = site.push("a", "hold", str(gate), times=3)
    wait_until(lambda: len(site.started()) == 3, "three tasks run at once")
    gate.touch()
    running.event("gone", count=4, reason="idle")
    wait_until(lambda: len(running.workers()) == 1, "one worker is left")
    assert run_once(site, ids)


def test_with_min_idle_0_no_worker_stays_and_one_comes_for_a_task(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(site), count=2, min_idle=0, idle_timeout=0.2))
    running.event("gone", count=2, reason="idle")
    wait_until(lambda: not running.workers(), "no worker is left")
    ids = site.push("a", "empty")
    running.event("task_done")
    assert run_once(site, ids)


def test_without_overlap_a_worker_stops_exactly_at_its_limit_and_its_place_is_empty_meanwhile(site, daemon):
    site.queue("a", batch_limit=1)
    ids = site.push("a", "empty", times=18)
    running = daemon(settings(site_table(site), count=1, max_requests=4, overlap=False))
    running.event("gone", reason="max_requests")
    before = psutil.Process(running.pid).num_fds()
    running.event("gone", count=4, reason="max_requests")
    events = worker_events(running, None)
    assert {e["done"] for e in events if e["event"] == "gone"} == {4}  # 10 % of 4 is less than one
    turns = [e["event"] for e in events if e["event"] in ("ready", "gone")]
    assert turns[:8] == ["ready", "gone"] * 4
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert psutil.Process(running.pid).num_fds() <= before + 1  # the worker that is there now


def test_without_overlap_a_batch_is_not_cut_at_the_limit(site, daemon):
    site.queue("a", batch_limit=10)
    ids = site.push("a", "empty", times=40)
    running = daemon(settings(site_table(site), count=1, max_requests=4, overlap=False))
    wait_until(lambda: site.left() == 0, "all items gone")
    running.event("gone", count=3, reason="max_requests")
    assert {e["done"] for e in running.events("gone", reason="max_requests")} == {10}
    assert run_once(site, ids)


def test_a_worker_with_a_long_task_does_not_hold_up_the_replacement_of_the_others(site, daemon, tmp_path):
    site.queue("long")
    site.queue("short")
    gate = tmp_path / "gate"
    (held,) = site.push("long", "hold", str(gate))
    running = daemon(settings(site_table(site), count=2, max_requests=5, max_age=0))
    wait_until(lambda: site.started("long") == [held], "the long task runs")
    ids = site.push("short", "nap", 0.01, times=60)
    running.event("gone", count=2, reason="max_requests")
    wait_until(lambda: site.left("short") == 0, "the short ones are done")
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, [held, *ids])


def test_no_zombie_stays_below_the_master(site, daemon):
    site.queue("a")
    site.push("a", "offspring", 0.1, times=60)
    running = daemon(settings(site_table(site), count=2, max_requests=20))
    wait_until(lambda: site.left() == 0, "all items gone")
    running.event("gone", reason="max_requests")
    parents = [running.pid, running.control(), *running.workers()]
    wait_until(lambda: not any(zombies(pid) for pid in parents), "every child was reaped")
