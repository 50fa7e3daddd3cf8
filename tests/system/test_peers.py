"""What went wrong in other runners must not go wrong here.

| Do this | Must happen | Tested |
|---|---|---|
| HUP with a bad file, an unknown key, a pipe that dies or never says hello | the old settings and workers go on, the reason is visible | test_reload: a_refused_file_changes_nothing…, a_pipe_command_that_fails…; below, under load |
| KILL the master while tasks run | every worker, its pipe and their children are gone; no task runs twice inside its lease | test_stop: when_the_master_is_killed…; below, with children, and another daemon on the site |
| a pipe in `sh -c`, deaf to EOF and TERM | its whole group is killed, its place filled | test_pipes: a_pipe_deaf…, a_deaf_pipe_with_a_task_that_hangs…; test_stop: …ignores_both_eof_and_term |
| a worker is killed, exits or has no memory left in mid-task | one task is affected, its claim settled at once, the place filled; the others run once | test_failures; below, many in a row |
| all workers busy, queues full | no claim without a free worker | test_fairness: nothing_is_claimed_without…; below, with batches |
| TERM with tasks that run: short, longer than grace, a second TERM or INT | they finish; or are killed and given back; or that at once. What was claimed and not begun goes back | test_stop, test_terminal; below, with a batch of several identities |
| noise before, inside and after an answer, half a line, a line of 10 MB | answers never shift; noise is logged with its task | test_pipes: noise…, a_line_of_10_mb…; test_settling: an_answer_torn…, an_answer_that_comes_twice… |
| the database is away for minutes, control's pipe dies | the daemon stays and recovers alone | test_database; test_failures: a_killed_control… |
| the memory limit is crossed in mid-task, softly or far | after the task; or killed, with the reason | test_memory |
| many workers of the same age and limits, started together | restarts are spread; few boot at once | test_recycling: four_workers_of_the_same_age…, the_limit_of_items_differs…; below, by count under load |
| foreign orphans below the daemon | reaped and ignored | test_pipes: foreign_orphans… |
| two instances, stale files, many reloads | a clear refusal; no descriptor stays open | test_instances; test_reload: reloads_leave_no_descriptors_open |
| reload while a task runs for long | the others roll and take tasks, the busy one rolls last | test_reload: the_worker_with_a_long_task_rolls_last… |
| a worker frozen in its boot or its handshake | boot timeout, counted, back-off; the others go on | test_boot_failures: a_worker_frozen_in_its_boot…; below, both |
"""  # noqa: E501

import os
import signal
from signal import SIGINT, SIGKILL, SIGTERM

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import fewest_ready, most_booting, run_once
from support.processes import wait_gone
from support.tables import settings, site_table

WELCOME = '{"Civi::pipe":{"v":"6.13.3","t":"trusted","l":["login"]}}'
FREE = (0, None)  # run_count and release_time of an item that nobody has claimed


def workers_of(running, event, **fields):
    return [e for e in running.events(event, **fields) if "worker" in e]


def test_whatever_is_wrong_with_a_reload_the_tasks_that_run_finish_in_the_workers_that_began_them(
    site, daemon, gate
):
    site.queue("a")
    held = site.push("a", "hold", str(gate), times=2)
    good = settings(site_table(site), count=2)
    running = daemon(good)
    wait_until(lambda: sorted(site.started()) == held, "both workers are busy")
    workers = set(running.workers())
    bad = {
        "expected": ("reload_refused", good + "\n[logs\n"),
        "cuont": ("reload_refused", good.replace("count", "cuont")),
        "exit status 3": ("reload_failed", settings(site_table("exit 3"), count=2)),
        "no welcome in time": ("reload_failed", settings(site_table("sleep 600"), boot_timeout=0.5)),
    }
    for reason, (event, text) in bad.items():
        before = len(running.events(event))
        running.configure(text)
        running.send(signal.SIGHUP)
        assert reason in running.event(event, count=before + 1)["reason"]
    ids = site.push("a", "empty", times=10)
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, [*held, *ids])
    assert set(running.workers()) == workers
    assert not running.events("retiring")


def test_kill_of_the_master_ends_every_process_below_it_and_no_task_runs_twice_inside_its_lease(
    site, daemon, gate
):
    site.queue("a", batch_limit=3, lease_time=3600, retry_limit=1)
    batches = [
        [*site.push("a", "offspring", 600), *site.push("a", "hold", str(gate)), *site.push("a", "empty")]
        for _ in range(2)
    ]
    killed = daemon(settings(site_table(site), count=2))
    wait_until(lambda: {first for first, *_ in batches} <= set(site.ended()), "children of both pipes")
    wait_until(lambda: {held for _, held, _ in batches} <= set(site.started()), "two tasks run")
    processes = killed.tree()
    assert {int(w[5]) for w in site.written() if w[0] == "child"} <= {p.pid for p in processes}
    leased = site.rows()
    killed.stop(SIGKILL)
    wait_gone(processes, seconds=5)
    gate.touch()
    daemon(settings(site_table(site), count=2))  # with directories of its own: it knows nothing of these
    ids = site.push("a", "empty", times=20)
    wait_until(lambda: site.rows().keys() == leased.keys(), "what nobody had claimed")
    assert site.rows() == leased
    begun = [item for first, held, _ in batches for item in (first, held)]
    assert sorted(site.started(), key=int) == sorted([*begun, *ids], key=int)


def test_tasks_that_bring_down_one_worker_after_the_other_affect_nobody_but_themselves(site, daemon):
    deaths = [
        ("leave", [3], "exit status 3"),
        ("leave", [255, "PHP Fatal error: Allowed memory size exhausted"], "exit status 255"),
        ("crash", [], "SIGSEGV"),
    ]
    site.queue("a", retry_limit=0, error="delete")
    fine, culprits = [], {}
    for task, arguments, how in deaths * 2:
        fine += site.push("a", "nap", 0.01, times=8)
        culprits.update(dict.fromkeys(site.push("a", task, *arguments), how))
    fine += site.push("a", "nap", 0.01, times=8)
    running = daemon(settings(site_table(site), count=2, max_requests=0))
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.started(), key=int) == sorted([*fine, *culprits], key=int)
    assert sorted(site.ended(), key=int) == fine
    for item, how in culprits.items():
        (settled,) = running.events("settled", item=item)
        assert settled["fate"] == "try_counted"
        assert how in settled["cause"]
    assert any("Allowed memory size" in e["reason"] for e in running.events("pipe_lost"))
    wait_until(lambda: len(running.workers()) == 2, "both places are filled")
    readies = wait_until(lambda: len(r := workers_of(running, "ready")) == 8 and r, "one boot for each death")
    assert most_booting(readies) == 1
    assert len(running.events("settled")) == len(culprits)
    assert not running.events("site_down")


def test_claims_in_flight_are_never_more_than_free_workers_also_with_batches(site, daemon, gate):
    names = ("a", "b", "c")
    for name in names:
        site.queue(name, batch_limit=4)
    ids = [item for name in names for item in site.push(name, "hold", str(gate), times=12)]
    running = daemon(settings(site_table(site), log={"looking": True}, count=2))
    wait_until(lambda: len(site.started()) == 2, "both workers are busy")
    looks = len(running.events("looked"))
    running.event("looked", count=looks + 5)
    assert sum(run_count for run_count, _ in site.rows().values()) == 2 * 4
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)


@pytest.mark.parametrize("second", [None, SIGTERM, SIGINT])
def test_at_a_stop_what_was_claimed_for_other_identities_and_not_begun_goes_back_untried(
    site, daemon, gate, second
):
    site.contact(100)
    site.contact(101)
    site.queue("a", batch_limit=4, retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    others = [item for contact in (100, 101) for item in site.push("a", "empty", run_as=contact)]
    (behind,) = site.push("a", "empty")
    (unclaimed,) = site.push("a", "empty")
    running = daemon(settings(site_table(site), count=1))
    wait_until(site.started, "the batch runs")
    running.send(SIGTERM)
    running.event("stopping")
    if second is None:
        gate.touch()
    else:
        running.send(second)
    assert running.process.wait(60) == 0
    back = [*others, unclaimed] if second is None else [held, *others, behind, unclaimed]
    assert site.rows() == dict.fromkeys(back, FREE)
    assert site.ended() == ([held, behind] if second is None else [])


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_batch_that_takes_longer_than_graceful_timeout_goes_back_whole_but_for_what_has_ended(
    site, daemon, gate, number
):
    site.queue("a", batch_limit=4, retry_limit=0, error="delete")
    (done,), held = site.push("a", "empty"), site.push("a", "hold", str(gate), times=3)
    running = daemon(settings(site_table(site), count=1), arguments=["-d", "coworker.graceful_timeout=0.3"])
    wait_until(lambda: site.started() == [done, held[0]], "the second of the batch runs")
    assert running.stop(number) == 0
    assert site.rows() == dict.fromkeys(held, FREE)


def test_workers_started_together_with_the_same_limit_are_replaced_one_at_a_time_under_load(site, daemon):
    site.queue("a")
    running = daemon(settings(site_table(site), count=4, max_requests=40, max_age=0, boot_budget=1))
    running.event("ready", count=5)
    ids = site.push("a", "nap", 0.01, times=400)
    running.event("gone", count=4, reason="max_requests")
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    events = running.events()
    assert most_booting(workers_of(running, "ready")) == 1
    assert fewest_ready(events, 4) == 4


@pytest.mark.parametrize("says", ["", f"echo '{WELCOME}';"], ids=["boot", "handshake"])
def test_a_worker_frozen_before_it_is_ready_is_timed_out_counted_and_tried_again_while_others_work(
    site, daemon, tmp_path, says
):
    frozen = tmp_path / "frozen"
    command = f"if test -e {frozen}; then {says} exec sleep 600; fi; {site.command()}"
    running = daemon(settings(site_table(command), count=2, boot_timeout=3, max_requests=0))
    running.event("ready", count=3)
    frozen.touch()
    victim, other = running.workers()
    os.kill(running.pipe_of(victim), SIGKILL)
    running.event("gone", pid=victim)
    wait_until(lambda: len(running.workers()) == 2, "its successor boots")
    (successor,) = set(running.workers()) - {other}
    (pipe,) = wait_until(psutil.Process(successor).children, "its pipe")
    site.queue("a")
    ids = site.push("a", "empty", times=20)
    wait_until(lambda: site.left() == 0, "all items gone, in the other one")
    assert run_once(site, ids)
    assert [running.event("boot_failed", count=n)["failures"] for n in (1, 2)] == [1, 2]
    assert all(e["retry_seconds"] > 0 for e in running.events("boot_failed"))
    frozen.unlink()
    wait_gone([pipe])
    running.event("ready", count=4)
    assert len(running.workers()) == 2
    assert not running.events("site_down")
