"""How the daemon stops: gracefully, fast, or killed."""

import signal
import time
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM

import pytest
from support.daemon import PATIENCE, wait_until
from support.processes import deaf, wait_gone
from support.tables import settings, site_table

FREE = (0, None)  # run_count and release_time of an item that nobody has claimed


def grace(seconds):
    return ("-d", f"coworker.graceful_timeout={seconds}")


def start(daemon, site, *, grace_seconds=60, pipe=None, **workers):
    return daemon(settings(site_table(pipe or site), **workers), arguments=grace(grace_seconds))


def start_with_held_task(daemon, site, gate, **more):
    """A daemon that runs a task which ends when the gate is there, beside one that is not claimed yet."""
    site.queue("a")
    held, later = site.push("a", "hold", str(gate)), site.push("a", "empty")
    running = start(daemon, site, count=1, **more)
    wait_until(site.started, "the start of the task")
    return running, held[0], later[0]


def assert_nothing_left(running, processes):
    wait_gone(processes)
    run_dir, state_dir = running.folder / "run", running.folder / "state"
    assert not run_dir.exists(), "it made it, and it is empty"
    assert not state_dir.exists() or {path.name for path in state_dir.iterdir()} <= {"claims"}


@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGQUIT])
def test_an_idle_daemon_ends_with_status_0_and_leaves_nothing(site, daemon, number):
    running = start(daemon, site)
    running.event("ready", count=3)
    processes = running.tree()
    assert len(processes) == 6
    assert running.stop(number) == 0
    assert_nothing_left(running, processes)
    assert running.events()[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_task_that_runs_at_a_stop_finishes_and_nothing_more_is_claimed(site, daemon, gate, number):
    running, held, later = start_with_held_task(daemon, site, gate)
    processes = running.tree()
    running.send(number)
    running.event("stopping")
    gate.touch()
    assert running.process.wait(60) == 0
    assert site.ended() == [held]
    assert site.rows() == {later: FREE}
    assert_nothing_left(running, processes)


def test_a_task_longer_than_graceful_timeout_is_killed_and_given_back(site, daemon, gate):
    running, held, later = start_with_held_task(daemon, site, gate, grace_seconds=0.3)
    processes = running.tree()
    assert running.stop() == 0
    assert site.rows() == {held: FREE, later: FREE}
    assert running.event("halting")["signal"] == "graceful_timeout"
    assert running.event("settled")["fate"] == "given_back"
    assert_nothing_left(running, processes)


def test_a_killed_task_keeps_the_tries_it_had_before(site, daemon, gate):
    site.queue("a", retry_limit=5)
    (held,) = site.push("a", "hold", str(gate))
    site.execute("UPDATE civicrm_queue_item SET run_count = 2")
    running = start(daemon, site, grace_seconds=0.1)
    wait_until(site.started, "the start of the task")
    assert running.stop() == 0
    assert site.rows() == {held: (2, None)}


def test_of_a_batch_the_finished_are_gone_and_the_others_are_given_back(site, daemon, gate):
    site.queue("a", batch_limit=5)
    finished = site.push("a", "empty", times=2)
    back = site.push("a", "hold", str(gate)) + site.push("a", "empty", times=2)
    running = start(daemon, site, grace_seconds=0.1)
    wait_until(lambda: len(site.started()) == 3, "the start of the third task")
    assert running.stop() == 0
    assert site.rows() == dict.fromkeys(back, FREE)
    assert site.ended() == finished


def test_what_was_given_back_is_run_by_the_next_daemon_and_nothing_runs_twice(site, daemon, gate):
    site.queue("a", batch_limit=5)
    ids = site.push("a", "empty", times=2) + site.push("a", "hold", str(gate)) + site.push("a", "empty")
    first = start(daemon, site, grace_seconds=0.1)
    wait_until(lambda: len(site.started()) == 3, "the start of the third task")
    assert first.stop() == 0
    gate.touch()
    second = start(daemon, site)
    wait_until(lambda: site.left() == 0, "the end of all tasks")
    assert second.stop() == 0
    assert sorted(site.ended()) == sorted(ids)
    assert site.started().count(ids[2]) == 2  # killed once, then run to its end
    assert len(site.started()) == len(ids) + 1


@pytest.mark.parametrize(
    ("first", "second"), [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGTERM, SIGINT), (SIGTERM, SIGQUIT)]
)
def test_a_second_signal_ends_running_tasks_at_once(site, daemon, gate, first, second):
    running, held, later = start_with_held_task(daemon, site, gate)
    processes = running.tree()
    running.send(first)
    running.event("stopping")
    running.send(second)
    assert running.process.wait(60) == 0
    assert site.rows() == {held: FREE, later: FREE}
    assert_nothing_left(running, processes)


def test_quit_ends_running_tasks_at_once_and_gives_them_back(site, daemon, gate):
    running, held, later = start_with_held_task(daemon, site, gate)
    processes = running.tree()
    assert running.stop(SIGQUIT) == 0
    assert site.rows() == {held: FREE, later: FREE}
    assert_nothing_left(running, processes)


def test_a_worker_that_was_leaving_for_another_reason_gives_its_killed_task_back_too(site, daemon, gate):
    running, held, _ = start_with_held_task(daemon, site, gate)
    running.send(signal.SIGHUP)
    running.event("retiring", reason="reload", worker=1)
    wait_until(lambda: site.rows().keys() == {held}, "the other task, in a new worker")
    assert running.stop(SIGQUIT) == 0
    assert site.rows() == {held: FREE}


def test_stop_and_kill_reach_a_pipe_that_ignores_both_eof_and_term(site, daemon, gate):
    running, held, later = start_with_held_task(daemon, site, gate, pipe=deaf(site), grace_seconds=0.1)
    processes = running.tree()
    assert running.stop() == 0
    assert site.rows() == {held: FREE, later: FREE}
    assert_nothing_left(running, processes)


def test_a_stop_does_not_wait_for_pipes_that_boot(daemon):
    running = daemon(settings(site_table("sleep 600")), wait="started")
    wait_until(lambda: len(running.tree()) >= 4, "two pipes that boot")
    processes = running.tree()
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 8
    assert_nothing_left(running, processes)


def test_a_daemon_whose_site_is_down_stops_as_any_other(daemon):
    running = daemon(settings(site_table("exit 3")), wait="site_down")
    assert running.stop() == 0
    assert_nothing_left(running, [])


def test_duration_stops_the_daemon_as_term_does(site, daemon, gate):
    site.queue("a")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site)), arguments=["-d", "coworker.duration=1"], wait=None)
    running.event("stopping", signal="duration")
    gate.touch()
    assert running.process.wait(PATIENCE) == 0
    begun = site.started()  # nothing, if the boot took longer than that
    assert begun in ([held], [])
    assert site.ended() == begun
    assert begun or site.rows() == {held: FREE}


def test_when_the_master_is_killed_every_child_and_pipe_is_gone_within_5_seconds(site, daemon):
    running = start(daemon, site)
    running.event("ready", count=3)
    assert_killed(running)


def test_when_the_master_is_killed_a_running_task_is_too(site, daemon, gate):
    running, held, later = start_with_held_task(daemon, site, gate)
    assert_killed(running)
    assert site.started() == [held]  # no child began anything more
    assert site.rows()[later] == FREE


def test_when_the_master_is_killed_a_pipe_that_ignores_eof_and_term_is_too(site, daemon, gate):
    running, _, _ = start_with_held_task(daemon, site, gate, pipe=deaf(site))
    assert_killed(running)


def test_when_the_master_is_killed_pipes_that_boot_are_too(daemon):
    running = daemon(settings(site_table("trap '' TERM; sleep 600; sleep 600")), wait="started")
    wait_until(lambda: len(running.tree()) >= 4, "two pipes that boot")
    assert_killed(running)


def assert_killed(running):
    processes = running.tree()
    assert len(processes) >= 4
    running.stop(SIGKILL)
    wait_gone(processes, seconds=5)
