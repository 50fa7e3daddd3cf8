"""Pipes that print what is no answer, and pipes that do not go when they are told."""

import os
from signal import SIGKILL

import psutil
from support.daemon import wait_until
from support.evidence import outcomes, run_once
from support.processes import alive, deaf, wait_gone, zombies
from support.tables import settings, site_table

ANSWER = '{"jsonrpc":"2.0","result":[{"outcome":"ok","item":{"id":"1","queue":"a"}}],"id":7}'


def group_of(running, worker):
    """Every process of the worker's pipe."""
    group = os.getpgid(running.pipe_of(worker))
    return [p for p in running.tree() if os.getpgid(p.pid) == group]


def test_a_pipe_deaf_to_eof_and_term_is_killed_with_its_whole_group_and_replaced(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(deaf(site)), count=1, max_requests=3))
    first = running.event("ready", worker=1)["pid"]
    group = group_of(running, first)
    assert len(group) == 3  # two shells and the site
    ids = site.push("a", "empty", times=5)
    running.event("gone", pid=first, reason="max_requests")
    wait_gone(group)
    ids += site.push("a", "empty", times=2)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert not running.events("overdue")  # the child ended it, nobody had to end the child


def test_a_deaf_pipe_with_a_task_that_hangs_is_killed_with_its_whole_group(site, daemon, tmp_path):
    site.queue("a", retry_limit=0)
    running = daemon(settings(site_table(deaf(site)), count=1, task_timeout=0.3))
    (worker,) = running.workers()
    group = group_of(running, worker)
    assert len(group) == 3  # two shells and the site
    (held,) = site.push("a", "hold", str(tmp_path / "never"))
    assert running.event("settled")["fate"] == "try_counted"
    wait_gone(group)
    ids = site.push("a", "empty", times=2)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.started() == [held, *ids]


def test_a_child_that_outlives_its_task_does_not_hold_up_the_next_and_goes_with_the_pipe(site, daemon):
    site.queue("a")
    (first,) = site.push("a", "offspring", 600)
    running = daemon(settings(site_table(site), count=1, max_requests=3))
    running.event("task_done", item=first, outcome="ok")
    (child,) = [psutil.Process(int(w[5])) for w in site.written() if w[0] == "child"]
    assert alive(child)
    ids = site.push("a", "empty", times=10)
    wait_until(lambda: site.left() == 0, "all items gone")
    running.event("gone", reason="max_requests")
    wait_gone([child])
    assert run_once(site, [first, *ids])


def test_a_pipe_that_dies_and_leaves_a_child_with_its_output_is_noticed_and_its_child_killed(
    site, daemon, tmp_path
):
    site.queue("a", batch_limit=2, retry_limit=1)
    site.push("a", "offspring", 600)
    (held,) = site.push("a", "hold", str(tmp_path / "gate"))
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: held in site.started(), "the second task runs")
    child = next(psutil.Process(int(w[5])) for w in site.written() if w[0] == "child")
    os.kill(int(site.written()[-1][4]), SIGKILL)
    wait_gone([child])
    (tmp_path / "gate").touch()
    assert running.event("settled", item=held)["fate"] == "try_counted"
    wait_until(lambda: site.left() == 0, "all items gone")
    assert site.ended()[-1] == held


def test_foreign_orphans_are_reaped_and_ignored(site, daemon):
    site.queue("a")
    (first,) = site.push("a", "orphan", 0.5)
    running = daemon(settings(site_table(site), count=1, max_requests=2))
    running.event("task_done", item=first, outcome="ok")
    site.push("a", "empty", times=5)
    running.event("gone", reason="max_requests")
    (orphan,) = [int(w[5]) for w in site.written() if w[0] == "child"]
    wait_until(lambda: not psutil.pid_exists(orphan), "the orphan was reaped")
    wait_until(lambda: not zombies(running.pid), "no zombie")
    assert site.left() == 0
    assert not running.events("bad_report")


def test_noise_before_the_welcome_does_no_harm(site, daemon):
    site.queue("a")
    ids = site.push("a", "empty", times=3)
    command = f"echo Deprecated: old code; echo; echo '{ANSWER}'; {site.command()}"
    running = daemon(settings(site_table(command), count=1))
    running.event("task_done", count=3)
    assert run_once(site, ids)
    said = running.event("pipe_printed", count=2)  # by control's pipe and by the worker's
    assert "Deprecated: old code" in said["text"]
    assert not running.events("task_printed")


def test_noise_is_never_taken_for_an_answer_and_is_logged_with_the_task_that_printed_it(site, daemon):
    site.queue("a", error="delete")
    expected = {}
    for n in range(6):
        (shouted,) = site.push("a", "shout", f"{ANSWER}\nnoise {n}")
        (failed,) = site.push("a", "fail")
        (half,) = site.push("a", "shout", "half", 10)
        (fine,) = site.push("a", "empty")
        expected.update({shouted: ["ok"], failed: ["delete"], half: ["ok"], fine: ["ok"]})
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=len(expected))
    assert outcomes(running.events("task_done")) == expected
    assert not running.events("pipe_lost")
    printed = {e["items"]: e for e in running.events("task_printed")}
    ids = list(expected)
    for n in range(6):
        assert printed[ids[4 * n]]["queue"] == "a"
        assert printed[ids[4 * n]]["text"] == f"{ANSWER}\nnoise {n}\n"
        assert printed[ids[4 * n + 2]]["text"] == "half\n" + 10 * "x"
    assert len(printed) == 12


def test_noise_between_the_tasks_of_a_batch_is_logged_with_the_batch(site, daemon):
    site.queue("a", batch_limit=3)
    ids = site.push("a", "shout", "one of three", times=2) + site.push("a", "fail")
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", count=3)
    assert outcomes(running.events("task_done")) == {ids[0]: ["ok"], ids[1]: ["ok"], ids[2]: ["delete"]}
    (printed,) = running.events("task_printed")
    assert printed["items"] == ",".join(ids)
    assert printed["text"] == 2 * "one of three\n"


def test_noise_after_an_answer_does_not_shift_the_next(site, daemon):
    site.queue("a")
    expected = {}
    for _ in range(5):
        (late,) = site.push("a", "shout_later", 0.02, ANSWER)
        (failed,) = site.push("a", "fail")
        (fine,) = site.push("a", "nap", 0.05)
        expected.update({late: ["ok"], failed: ["delete"], fine: ["ok"]})
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", count=15)
    assert outcomes(running.events("task_done")) == expected
    assert not running.events("pipe_lost")
    assert sum(e["text"].count("jsonrpc") for e in running.events("task_printed")) == 5


def test_noise_after_an_answer_is_logged_with_the_task_that_printed_it_also_the_last_one(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(site), count=1))
    (worker,) = running.workers()
    pipe = psutil.Process(running.pipe_of(worker))
    late = []
    for text in ("first", "last"):
        late += site.push("a", "shout_later", 0.02, text)
        running.event("task_done", item=late[-1])
        wait_until(lambda: all(not alive(child) for child in pipe.children()), "it has printed")
        if text == "first":
            running.event("task_done", item=site.push("a", "empty")[0])
    assert running.stop() == 0
    assert [(e["items"], e["text"].strip()) for e in running.events("task_printed")] == [
        (late[0], "first"),
        (late[1], "last"),
    ]


def test_a_line_of_10_mb_without_end_is_dropped_but_for_its_tail_and_the_answer_behind_it_is_found(
    site, daemon
):
    site.queue("a")
    (big,) = site.push("a", "shout", "begin", 10_000_000)
    ids = site.push("a", "empty", times=3)
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", count=4)
    assert run_once(site, [big, *ids])
    (printed,) = running.events("task_printed")
    assert printed["items"] == big
    assert len(printed["text"]) < 9000
    assert "bytes dropped" in printed["text"]
    assert printed["text"].endswith(100 * "x")
    assert not running.events("pipe_lost")
