"""Answers that never come, or come spoilt; clocks that differ; leases that are short; others on the site."""

import os
from signal import SIGKILL, SIGSTOP

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import outcomes, repeated, run_once, seconds
from support.interpose import spoil
from support.processes import wait_gone
from support.tables import settings, site_table

CLAIM, OUTCOME, LOOK = '"run_as"', '"outcome"', '"batch_limit"'  # found in the answers to these calls


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "spoilt"


def test_an_answer_torn_by_noise_costs_the_pipe_and_shifts_no_other_answer(site, daemon, marker):
    site.queue("a", retry_limit=0, error="delete")
    expected = {}
    for _ in range(5):
        (fine,) = site.push("a", "empty")
        (failing,) = site.push("a", "fail")
        expected.update({fine: ["ok"], failing: ["delete"]})
    running = daemon(settings(site_table(spoil(site, marker, OUTCOME, "tear")), count=1))
    running.event("task_done", count=9)
    lost = running.event("pipe_lost", cause="protocol")
    assert "not JSON" in lost["reason"] or "answer" in lost["reason"]
    (settled,) = running.events("settled")
    assert settled["fate"] == "finished"
    expected.pop(settled["item"])
    assert outcomes(running.events("task_done")) == expected
    assert len(site.started()) == 10
    assert not repeated(site.started())


def test_an_answer_that_comes_twice_shifts_no_other_answer(site, daemon, marker):
    site.queue("a", retry_limit=0, error="delete")
    fine, failing = site.push("a", "empty", times=3), site.push("a", "fail", times=3)
    running = daemon(settings(site_table(spoil(site, marker, OUTCOME, "twice")), count=1))
    running.event("task_done", count=6)
    done = outcomes(running.events("task_done"))
    assert [done[item] for item in fine + failing] == [["ok"]] * 3 + [["delete"]] * 3
    assert running.events("pipe_lost", cause="protocol")
    assert not repeated(site.started())


def test_an_outcome_that_never_comes_ends_in_task_timeout_and_the_task_is_not_run_again(site, daemon, marker):
    site.queue("a", retry_limit=1)
    ids = site.push("a", "empty", times=4)
    command = spoil(site, marker, OUTCOME, "drop")
    running = daemon(settings(site_table(command), count=1, task_timeout=1))
    assert running.event("settled")["fate"] == "finished"
    running.event("task_done", count=3)
    assert run_once(site, ids)


def test_a_claim_whose_answer_never_came_is_named_and_the_other_items_run(site, daemon, marker):
    site.queue("a")
    ids = site.push("a", "empty", times=6)
    running = daemon(settings(site_table(spoil(site, marker, CLAIM, "die")), count=1))
    running.event("task_done", count=5)
    unanswered = running.event("claim_unanswered")
    assert unanswered["queue"] == "a"
    (left,) = site.rows("a")
    assert sorted([*site.ended(), left], key=int) == ids
    assert left not in site.started()
    assert running.event("settled", item=left)["fate"] == "try_restored"
    run_count, release_time = site.rows("a")[left]
    assert (run_count, release_time is None) == (0, False)  # perhaps another daemon's: its lease must end


@pytest.mark.parametrize("offset", [0, -3600])
def test_a_sole_agent_gives_back_what_a_claim_without_an_answer_took(site, daemon, marker, offset):
    site.queue("a", retry_limit=0, error="delete", batch_limit=2)
    ids = site.push("a", "nap", 0.01, times=40)
    command = spoil(site, marker, CLAIM, "die").replace("--store", f"--clock-offset={offset} --store")
    running = daemon(settings(site_table(command, sole_agent=True), count=2))
    running.event("settled", count=2)
    assert {e["fate"] for e in running.events("settled")} == {"given_back"}
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)


def test_a_look_that_is_spoilt_costs_control_its_pipe_and_nothing_else(site, daemon, marker):
    running = daemon(settings(site_table(spoil(site, marker, LOOK, "tear")), count=1))
    site.queue("a")
    ids = site.push("a", "empty", times=3)
    running.event("pipe_lost", role="control", cause="protocol")
    running.event("task_done", count=3)
    assert run_once(site, ids)


def test_a_frozen_pipe_of_control_is_replaced(site, daemon):
    running = daemon(settings(site_table(site), count=1, boot_timeout=2))
    running.event("ready", role="control")
    pipe = psutil.Process(running.pipe_of(running.control()))
    pipe.send_signal(SIGSTOP)
    running.event("gone", role="control", reason="timeout")
    wait_gone([pipe])
    site.queue("a")
    ids = site.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert run_once(site, ids)


@pytest.mark.parametrize("offset", [-7200, 5000])
def test_the_sites_clock_may_differ_from_ours(site, daemon, gate, offset):
    site.queue("a", batch_limit=2, retry_limit=1, retry_interval=1)
    held, second = site.push("a", "hold", str(gate), times=2)
    running = daemon(settings(site_table(site.command(f"--clock-offset={offset}")), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    os.kill(int(site.written()[0][4]), SIGKILL)
    gate.touch()
    running.event("settled", count=2)
    assert {e["item"]: e["fate"] for e in running.events("settled")} == {
        held: "try_counted",
        second: "given_back",
    }
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.ended()) == [held, second]
    assert site.started().count(held) == 2


def test_a_task_that_outlasts_its_lease_is_killed_before_somebody_else_could_claim_it(site, daemon, gate):
    site.queue("a", lease_time=2, retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate))
    running = daemon(settings(site_table(site), count=2))
    wait_until(lambda: site.started() == [held], "the task runs")
    pipe = psutil.Process(int(site.written()[0][4]))
    end = site.rows("a")[held][1]
    assert seconds(running.event("gone", reason="timeout")) <= end
    wait_gone([pipe], seconds=0.5)
    running.event("task_done", item=held, outcome="delete")
    assert site.started() == [held]


def test_a_large_batch_is_settled_whole(site, daemon, gate):
    site.queue("a", batch_limit=300, retry_limit=1)
    (held,) = site.push("a", "hold", str(gate))
    ids = site.push("a", "empty", times=599)
    running = daemon(settings(site_table(site), count=1, max_requests=0))
    wait_until(lambda: site.started() == [held], "the batch runs")
    os.kill(int(site.written()[0][4]), SIGKILL)
    gate.touch()
    running.event("settled", count=300)
    assert len(running.events("settled", fate="given_back")) == 299
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.ended(), key=int) == [held, *ids]
    assert repeated(site.started()) == [held]


def test_two_daemons_on_one_site_share_its_work(site, daemon):
    site.queue("a", batch_limit=3)
    site.queue("steps", type="Sql")
    running = [daemon(settings(site_table(site), count=2, max_requests=50)) for _ in range(2)]
    for each in running:
        each.event("ready", count=3)
    ids = site.push("a", "nap", 0.005, times=150)
    steps = site.push("steps", "nap", 0.005, times=40)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, [*ids, *steps])
    assert site.started("steps") == steps
    for each in running:
        assert each.stop() == 0
        assert each.events("task_done")
        assert not each.events("settled")


def test_queues_of_any_name_and_number_are_worked(site, daemon):
    names = ["import/ünï 'x' \"y\"", "-dash", "100 %", "a,b", *(f"q/{n}" for n in range(60))]
    for name in names:
        site.queue(name)
        site.push(name, "empty", times=2)
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=2 * len(names))
    assert site.left() == 0
    assert {e["queue"] for e in running.events("task_done")} == set(names)
    assert {e["outcome"] for e in running.events("task_done")} == {"ok"}
