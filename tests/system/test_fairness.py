"""Who is next: small queues beside huge ones, weights, limits, order, and no claim without a free worker."""

import time

import pytest
from support.daemon import wait_until
from support.evidence import most_at_once, run_once
from support.tables import settings, site_table, table


def rule(pattern, **values):
    """The settings of queues of this name."""
    return table(f'sites."example".queues."{pattern}"', values)


def wait_seen(running, queue):
    """Wait until control has told the master of this queue."""
    wait_until(
        lambda: any(queue in e.get("queues", "").split(",") for e in running.events("looked")),
        f"{queue} was seen",
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_of_a_small_queue_starts_next_though_a_huge_queue_was_there_first(site, daemon, gate, workers):
    site.queue("huge")
    site.queue("small")
    site.push("huge", "hold", str(gate), times=2500)
    limits = {"count": workers, "slice": 0, "max_requests": 0}
    running = daemon(settings(site_table(site), log={"looking": True}, **limits))
    wait_until(lambda: len(site.started()) == workers, "all workers are busy with the huge queue")
    (small,) = site.push("small", "empty")
    wait_seen(running, "small")
    gate.touch()
    wait_until(lambda: small in site.started(), "the small one runs")
    starts = [word for word in site.written() if word[0] == "start"]
    (pipe,) = [word[4] for word in starts if word[1] == small]
    ahead = [word[1] for word in starts if word[4] == pipe]
    # In the pipe that came to run it: only what was running. Another worker may go on with the huge queue.
    assert ahead.index(small) == 1


def test_a_small_queue_waits_for_a_slice_at_most_while_a_huge_one_is_worked_on(site, daemon):
    site.queue("huge", batch_limit=10)
    site.queue("small")
    site.push("huge", "nap", 0.005, times=3000)
    running = daemon(settings(site_table(site), count=2, slice=0.1, max_requests=0))
    for _ in range(5):
        before = len(site.started())
        wait_until(lambda at=before: len(site.started()) > at + 20, "the huge queue is worked on")
        (small,) = site.push("small", "empty")
        begun = len(site.started())
        wait_until(lambda item=small: item in site.started(), "the small one runs")
        # To be seen takes a look (50 ms), then a slice (100 ms); two workers make 400 in a second at most.
        assert site.started().index(small) - begun <= 200
    assert running.process.poll() is None
    assert site.left("huge") > 0


def test_queues_get_turns_by_their_weight(site, daemon):
    site.queue("heavy")
    site.queue("light")
    site.push("heavy", "empty", times=200)
    site.push("light", "empty", times=200)
    tables = site_table(site), rule("heavy", weight=3)
    running = daemon(settings(*tables, count=1, slice=0, max_requests=0))
    running.event("task_done", count=120)
    first = [word[2] for word in site.written() if word[0] == "start"][:100]
    assert 70 <= first.count("heavy") <= 80
    assert all("light" in first[at : at + 8] for at in range(0, 92, 8))


def test_three_queues_of_equal_weight_take_turns(site, daemon):
    for name in ("a", "b", "c"):
        site.queue(name)
        site.push(name, "empty", times=40)
    running = daemon(settings(site_table(site), count=1, slice=0, max_requests=0))
    running.event("task_done", count=90)
    first = [word[2] for word in site.written() if word[0] == "start"][:60]
    assert all(18 <= first.count(name) <= 22 for name in ("a", "b", "c"))


def test_the_concurrency_of_a_queue_is_never_exceeded_and_others_use_the_rest(site, daemon, gate):
    site.queue("limited/x", batch_limit=2)
    site.queue("limited/y")
    site.queue("free")
    held = site.push("free", "hold", str(gate), times=2)
    ids = site.push("limited/x", "nap", 0.01, times=40) + site.push("limited/y", "nap", 0.01, times=20)
    tables = site_table(site), rule("limited/*", concurrency=2)
    running = daemon(settings(*tables, count=6, boot_budget=6, max_requests=0))
    running.event("task_done", count=60)
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert most_at_once(site.written(), "limited/x") == 2
    assert most_at_once(site.written(), "limited/y") == 2
    assert run_once(site, [*held, *ids])


def test_a_linear_queue_runs_one_task_at_a_time_in_order_with_four_workers(site, daemon):
    site.queue("steps", type="Sql", retry_limit=0)
    site.queue("beside")
    steps = site.push("steps", "nap", 0.005, times=60)
    beside = site.push("beside", "nap", 0.005, times=200)
    running = daemon(settings(site_table(site), count=4, boot_budget=4, max_requests=30))
    wait_until(lambda: site.left() == 0, "all items gone")
    running.event("gone", reason="max_requests")
    assert site.started("steps") == site.ended("steps") == steps
    assert most_at_once(site.written(), "steps") == 1
    assert run_once(site, [*steps, *beside])


def test_a_linear_queue_waits_for_the_retry_of_its_head(site, daemon):
    site.queue("steps", type="Sql", retry_limit=2, retry_interval=1)
    (head,) = site.push("steps", "fail_until", 1)
    rest = site.push("steps", "empty", times=3)
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=5)
    assert site.started("steps") == [head, head, *rest]


def test_a_delayed_task_runs_when_its_time_has_come_and_others_do_not_wait_for_it(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(site), count=1))
    (delayed,) = site.push("a", "empty", release_time="+4 seconds")
    due = site.rows("a")[delayed][1]
    ids = site.push("a", "empty", times=3)
    running.event("task_done", item=delayed)
    assert time.time() >= due
    assert site.started() == [*ids, delayed]


def test_tasks_of_a_queue_run_in_order_of_their_weight(site, daemon):
    site.queue("a", batch_limit=2)
    late = site.push("a", "empty", times=3, weight=5)
    first = site.push("a", "empty", times=3, weight=-1)
    middle = site.push("a", "empty", times=3)
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", count=9)
    assert site.started() == [*first, *middle, *late]


def test_nothing_is_claimed_without_a_free_worker(site, daemon, gate):
    names = ("a", "b", "c")
    for name in names:
        site.queue(name)
    ids = [item for name in names for item in site.push(name, "hold", str(gate), times=10)]
    running = daemon(settings(site_table(site), log={"looking": True}, count=2))
    wait_until(lambda: len(site.started()) == 2, "both workers are busy")
    looks = len(running.events("looked"))
    running.event("looked", count=looks + 5)
    leased = [item for item, (_, release_time) in site.rows().items() if release_time is not None]
    assert sorted(leased) == sorted(site.started())
    assert sum(run_count for run_count, _ in site.rows().values()) == 2
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)


def test_a_queue_with_much_work_gets_all_free_workers(site, daemon, gate):
    site.queue("a")
    ids = site.push("a", "hold", str(gate), times=8)
    daemon(settings(site_table(site), count=4, boot_budget=4))
    wait_until(lambda: len(site.started()) == 4, "four of its tasks run at once")
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
