"""After a KILL of the daemon the next start ends what is left of it, settles, and only then claims."""

import os
import signal
from signal import SIGKILL

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.interpose import spoil
from support.processes import alive, wait_gone
from support.tables import settings, site_table

CLAIM = '"run_as"'  # found in the answer to a claim


def journals(running):
    """The files in its state_dir that name claims."""
    return sorted(path.name for path in (running.folder / "state").rglob("*claims*") if path.is_file())


def left_in_state(running):
    folder = running.folder / "state"
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def fates(running):
    return {e["item"]: e["fate"] for e in running.events("settled")}


@pytest.mark.parametrize("every", [1, 2, 1000], ids=["tree", "half", "master and one"])
def test_after_kill_9_what_was_begun_counts_as_a_try_and_the_rest_is_given_back(site, daemon, gate, every):
    site.queue("a", batch_limit=3, retry_limit=1)
    held, *rest = [*site.push("a", "hold", str(gate)), *site.push("a", "empty", times=2)]
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    survivors = first.kill_all(lambda tree: tree[::every])
    assert all(leased for _, leased in site.rows("a").values())
    second = daemon(settings(site_table(site), count=1), share=first)
    wait_gone(survivors)
    second.event("settled", count=3)
    assert fates(second) == {held: "try_counted", **dict.fromkeys(rest, "given_back")}
    gate.touch()
    second.event("task_done", count=3)
    assert site.left() == 0
    assert sorted(site.started()) == [held, held, *rest]
    claimed = [e["event"] for e in second.events() if e["event"] in ("settled", "task_done")]
    assert claimed == ["settled"] * 3 + ["task_done"] * 3
    assert second.stop() == 0
    assert not journals(second)


def test_without_a_retry_left_a_task_that_ran_at_the_kill_is_not_run_again(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    held, other = [*site.push("a", "hold", str(gate)), *site.push("a", "empty")]
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    first.kill_all()
    second = daemon(settings(site_table(site), count=1), share=first)
    second.event("task_done", item=held, outcome="delete")
    second.event("task_done", item=other, outcome="ok")
    assert site.started() == [held, other]


def test_old_pipes_are_ended_before_anything_is_settled(site, daemon, gate):
    site.queue("a", retry_limit=1)
    (held,) = site.push("a", "hold", str(gate))
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    pipe = psutil.Process(int(site.written()[0][4]))
    for pid in first.workers():
        os.kill(pid, signal.SIGSTOP)  # so that it cannot end its pipe itself
    first.kill_all(lambda _tree: [])
    assert alive(pipe)
    second = daemon(settings(site_table(site), count=1), share=first, wait=None)
    second.event("settled", item=held)
    assert not alive(pipe)
    gate.touch()
    second.event("task_done", item=held)
    assert site.ended() == [held]


def test_handed_items_that_waited_for_a_worker_are_given_back(site, daemon, gate):
    site.contact(100)
    site.contact(200)
    site.queue("b", retry_limit=0)
    site.queue("a", batch_limit=3, retry_limit=0)
    first = daemon(settings(site_table(site), count=1, boot_timeout=20))
    (held,) = site.push("b", "hold", str(gate), run_as=100)
    wait_until(lambda: site.started() == [held], "a worker is bound")
    for contact in (100, 200, 200):
        site.push("a", "empty", run_as=contact)
    gate.touch()
    wait_until(lambda: len(site.ended()) == 2, "the worker's own part ran")
    first.kill_all()
    second = daemon(settings(site_table(site), count=2), share=first)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert len(site.started()) == len(set(site.started())) == 4
    assert second.stop() == 0
    assert not journals(second)


@pytest.mark.parametrize("sole", [True, False])
def test_a_claim_without_an_answer_is_found_by_its_lease(site, daemon, tmp_path, sole):
    site.queue("a", batch_limit=2, retry_limit=0)
    ids = site.push("a", "empty", times=2)
    command = spoil(site, tmp_path / "spoilt", CLAIM, "drop")
    first = daemon(settings(site_table(command), count=1))
    wait_until(lambda: [n for n, _ in site.rows("a").values()] == [1, 1], "the batch is claimed")
    first.kill_all()
    second = daemon(settings(site_table(site, sole_agent=sole), count=1), share=first)
    second.event("settled", count=2)
    assert fates(second) == dict.fromkeys(ids, "given_back" if sole else "try_restored")
    if sole:
        second.event("task_done", count=2)
        assert run_once(site, ids)
    else:
        assert [(tries, leased is not None) for tries, leased in site.rows("a").values()] == [(0, True)] * 2
        assert site.started() == []
    assert second.stop() == 0
    assert not journals(second)


def test_a_graceful_stop_leaves_no_file(site, daemon):
    site.queue("a", batch_limit=3)
    running = daemon(settings(site_table(site), count=2, max_requests=5))
    ids = site.push("a", "empty", times=50)
    running.event("task_done", count=50)
    assert journals(running)
    assert running.stop() == 0
    assert run_once(site, ids)
    assert left_in_state(running) == []


def test_what_a_stop_cannot_settle_the_next_start_does(site, daemon, gate, tmp_path):
    site.queue("a", batch_limit=2, retry_limit=0)
    held, other = [*site.push("a", "hold", str(gate)), *site.push("a", "empty")]
    up = tmp_path / "up"
    up.touch()
    command = f"[ -e {up} ] || exit 1; {site.command()}"
    first = daemon(settings(site_table(command), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    up.unlink()
    os.kill(first.pipe_of(first.control()), SIGKILL)
    first.event("boot_failed")
    first.send(signal.SIGQUIT)
    assert first.process.wait(60) == 0
    left = first.event("claim_left_open")
    assert sorted(left["items"].split(",")) == [held, other]
    assert journals(first)
    up.touch()
    gate.touch()
    second = daemon(settings(site_table(command), count=1), share=first)
    second.event("task_done", count=2)
    assert fates(second) == {held: "given_back", other: "given_back"}  # it was ended by us, at a stop
    assert site.ended() == [held, other]
    assert second.stop() == 0
    assert not journals(second)


@pytest.mark.parametrize(
    ("content", "event", "says"),
    [
        (b"\x00\xff garbage\n", "journal_set_aside", ""),
        (b'["coworker claims",99,{}]\n', "journal_set_aside", "version 99"),
        (b'["something else",1,{}]\n', "journal_set_aside", "not a journal"),
        (b'{"half":1}\n', "journal_set_aside", ""),
    ],
)
def test_a_journal_that_nobody_can_read_is_set_aside_and_named(site, daemon, content, event, says):
    site.queue("a")
    ids = site.push("a", "empty", times=3)
    first = daemon(settings(site_table(site), count=1))
    first.event("task_done", count=3)
    folder = first.folder / "state" / "claims"
    first.kill_all()
    (folder / "7-7.claims").write_bytes(content)
    second = daemon(settings(site_table(site), count=1), share=first)
    problem = second.event(event)
    assert says in problem["reason"]
    assert "7-7.claims" in problem["file"]
    assert (folder / "7-7.set-aside").read_bytes() == content
    ids += site.push("a", "empty", times=3)
    second.event("task_done", count=3)
    assert run_once(site, ids)


def test_garbage_within_a_journal_is_named_and_the_rest_of_it_counts(site, daemon, gate):
    site.queue("a", batch_limit=2, retry_limit=1)
    held, other = [*site.push("a", "hold", str(gate)), *site.push("a", "empty")]
    first = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.started() == [held], "the batch runs")
    (worker,) = first.workers()
    first.kill_all()
    (path,) = (first.folder / "state" / "claims").glob(f"{worker}-*.claims")
    with path.open("ab") as stream:
        stream.write(b'garbage\n["began"]\n["ended","9.9",["1"]]\n["took","1.2",[["99",nu')
    gate.touch()
    second = daemon(settings(site_table(site), count=1), share=first)
    second.event("task_done", count=2)
    damaged = [e["line"] for e in second.events("journal_damaged")]
    assert len(damaged) == 3
    assert fates(second) == {held: "try_counted", other: "given_back"}


def test_claims_of_a_site_that_is_no_longer_there_are_named_and_kept(site, other, daemon, gate):
    site.queue("a", retry_limit=1)
    other.queue("a")
    (held,) = site.push("a", "hold", str(gate))
    first = daemon(settings(site_table(site, "one"), site_table(other, "two"), count=1))
    wait_until(lambda: site.started() == [held], "the task runs")
    first.kill_all()
    second = daemon(settings(site_table(other, "two"), count=1), share=first)
    assert second.event("claims_of_no_site")["site"] == "one"
    second.configure(settings(site_table(site, "one"), site_table(other, "two"), count=1))
    second.send(signal.SIGHUP)
    second.event("settled", item=held, fate="try_counted")
    gate.touch()
    second.event("task_done", item=held)
    assert site.ended() == [held]


def test_a_daemon_that_is_killed_again_and_again_forgets_nothing(site, daemon, gate):
    site.queue("a", batch_limit=5, retry_limit=9)
    (held,) = site.push("a", "hold", str(gate))
    ids = site.push("a", "empty", times=4)
    running = daemon(settings(site_table(site), count=1, crash_limit=0))
    for tries in range(1, 4):
        wait_until(lambda tries=tries: site.started().count(held) == tries, "it was begun")
        running.kill_all()
        running = daemon(settings(site_table(site), count=1, crash_limit=0), share=running, wait=None)
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert sorted(site.started()) == sorted([held] * 4 + ids)
    assert running.stop() == 0
    assert not journals(running)
