"""Signals that were meant for the daemon reach its pipes, too: no task pays for that (rule 5)."""

import os
import signal

import pytest
from support.daemon import wait_until
from support.processes import alive
from support.tables import settings, site_table

FREE = (0, None)


def pipe_that_runs(site, item, times=1):
    """The pid of the pipe that began this item, for the so-manieth time."""
    wait_until(lambda: site.started().count(item) >= times, f"item {item} runs")
    return int([w[4] for w in site.written() if w[:2] == ["start", item]][times - 1])


def signal_all(running, number):
    """As `systemctl kill` does, in the worst order: the pipes die before the master knows."""
    for process in reversed(running.tree()):
        if alive(process):
            os.kill(process.pid, number)
    running.send(number)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_a_pipe_that_died_of_a_signal_for_the_daemon_costs_its_task_no_try(site, daemon, gate, name):
    site.queue("a", retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=1))
    os.kill(pipe_that_runs(site, held), signal.Signals[f"SIG{name}"])
    assert running.event("settled", item=held)["fate"] == "given_back"
    assert running.event("pipe_lost")["cause"] == "signal"
    gate.touch()
    wait_until(lambda: site.left() == 0, "the item is gone")
    assert site.ended() == [held]
    assert site.started() == [held, held]


def test_logs_that_are_reopened_by_a_signal_to_everybody_cost_no_task_a_try(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    held, later = site.push("a", "hold", str(gate), times=2)
    running = daemon(settings(site_table(site), count=1))
    pipe_that_runs(site, held)
    signal_all(running, signal.SIGUSR1)
    running.event("settled", count=2)
    assert {e["fate"] for e in running.events("settled")} == {"given_back"}
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.ended()) == sorted([held, later])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_stop_that_is_sent_to_everybody_gives_back_what_runs(site, daemon, gate, number):
    site.queue("a", retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=1))
    pipe_that_runs(site, held)
    signal_all(running, number)
    assert running.process.wait(60) == 0
    assert site.rows() == {held: FREE}


def test_the_third_such_death_in_a_row_counts_as_the_tasks_own(site, daemon, gate):
    site.queue("a", retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=1))
    for times in (1, 2, 3):
        os.kill(pipe_that_runs(site, held, times), signal.SIGTERM)
    running.event("settled", count=3)
    assert [e["fate"] for e in running.events("settled")] == ["given_back", "given_back", "try_counted"]
    running.event("task_done", item=held, outcome="delete")
    assert site.started() == [held] * 3


def test_a_pipe_that_ended_by_itself_is_the_tasks_own_doing(site, daemon, gate):
    site.queue("a", retry_limit=0, error="delete")
    (fatal,) = site.push("a", "leave", 3)
    running = daemon(settings(site_table(site), count=1))
    assert running.event("settled", item=fatal)["fate"] == "try_counted"
    assert running.event("pipe_lost")["cause"] == "died"
