"""What began is known, not guessed: MINIPIPE and the Python site note each task before its call (rule 4)."""

import os
from collections import Counter
from pathlib import Path
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.php_site import PhpSite
from support.tables import settings, site_table

HOOK = "hook_civicrm_queueRun_task"
UNRUN = {"retry_limit": 0, "error": "delete"}  # what was begun once, and did not end, is deleted unrun


@pytest.fixture
def php(tmp_path, gate):
    """A PHP site whose listeners, before CiviCRM's handler, act once."""
    site = PhpSite(tmp_path / "php", once=str(tmp_path / "once"), gate=str(gate))
    site.queue("a", batch_limit=3, **UNRUN)
    return site


def table(php, pipe="MINIPIPE vtl", **values):
    return site_table(pipe, cwd=str(php.root), **values)


def parked(running, once):
    """Wait until a batch was sent and has not begun; returns the pid of its pipe."""
    wait_until(once.exists, "a batch is sent")
    (worker,) = running.workers()
    return running.pipe_of(worker)


def all_run(site, ids):
    wait_until(lambda: site.left() == 0, "all items gone")
    return run_once(site, ids)


@pytest.mark.parametrize("how", ["leave", "fatal", "lose", "refuse"])
def test_what_ended_before_the_first_word_of_a_task_costs_no_try(php, daemon, how):
    php.configure(listeners={HOOK: how})
    ids = php.push("a", "empty", times=6)
    running = daemon(settings(table(php), count=1))
    assert all_run(php, ids)
    fates = {event["fate"] for event in running.events("settled")}
    assert fates == {"given_back"}
    assert not running.events("poisoned")


def test_a_pipe_that_is_killed_before_the_first_word_costs_no_try_however_often(php, daemon, gate, tmp_path):
    php.configure(listeners={HOOK: "park"})
    ids = php.push("a", "empty", times=3)
    running = daemon(settings(table(php), count=1))
    for number in range(1, 5):
        os.kill(parked(running, tmp_path / "once"), SIGKILL)
        running.event("pipe_lost", count=number)
        (tmp_path / "once").unlink()  # the next batch is parked, too
    gate.touch()
    assert all_run(php, ids)
    assert {event["cause"] for event in running.events("pipe_lost")} == {"killed"}
    assert {event["fate"] for event in running.events("settled")} == {"given_back"}


def test_a_kill_of_everything_between_claim_and_beginning_costs_no_try(php, daemon, tmp_path):
    php.configure(listeners={HOOK: "park"})
    ids = php.push("a", "empty", times=3)
    first = daemon(settings(table(php), count=1))
    wait_until((tmp_path / "once").exists, "a batch is sent")
    first.kill_all()
    second = daemon(settings(table(php), count=1), share=first)
    assert all_run(php, ids)
    assert [event["fate"] for event in second.events("settled")] == ["given_back"] * 3


def test_of_a_batch_only_the_task_that_ran_pays(php, daemon, gate):
    done, held, later = (php.push("a", *task)[0] for task in (("empty",), ("hold", str(gate)), ("empty",)))
    running = daemon(settings(table(php), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    (pid,) = {int(words[4]) for words in php.written()}
    os.kill(pid, SIGKILL)
    running.event("settled", count=3)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {done: "finished", held: "try_counted", later: "given_back"}
    wait_until(lambda: php.left() == 0, "all items gone")
    assert php.started() == [done, held, later]


def test_after_a_kill_of_everything_the_task_that_ran_pays(php, daemon, gate):
    done, held, later = (php.push("a", *task)[0] for task in (("empty",), ("hold", str(gate)), ("empty",)))
    first = daemon(settings(table(php), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    first.kill_all()
    second = daemon(settings(table(php), count=1), share=first)
    second.event("settled", count=3)
    fates = {event["item"]: event["fate"] for event in second.events("settled")}
    assert fates == {done: "finished", held: "try_counted", later: "given_back"}


@pytest.mark.parametrize("how", ["leave", "refuse"])
def test_what_never_lets_a_batch_begin_does_not_circle_for_ever(php, daemon, how):
    php.configure(listeners={HOOK: how}, once=None)
    (first,) = php.push("a", "empty")
    running = daemon(settings(table(php), count=1, crash_limit=2))
    poisoned = running.event("poisoned")
    assert (poisoned["item"], poisoned["crashes"]) == (first, 2)
    assert [event["fate"] for event in running.events("settled", item=first)][:2] == [
        "given_back",
        "try_counted",
    ]
    # CiviCRM cannot end it either: it rests until its lease ends.
    running.event("settled", item=first, count=4)
    run_count, release_time = php.rows("a")[first]
    assert run_count > 2
    assert release_time is not None
    assert php.started() == []


@pytest.mark.parametrize("deed", ["remove", "shorten"])
def test_without_the_notes_the_first_of_the_batch_pays(php, daemon, gate, deed):
    held, later = (php.push("a", *task)[0] for task in (("hold", str(gate)), ("empty",)))
    running = daemon(settings(table(php), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    (notes,) = (running.folder / "state/claims").glob("*.begun")
    notes.unlink() if deed == "remove" else os.truncate(notes, 3)
    os.kill(int(php.written()[0][4]), SIGKILL)
    running.event("settled", count=2)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {held: "try_counted", later: "given_back"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_on_a_full_disk_nothing_is_called_that_cannot_be_noted_and_nothing_is_lost(
    php, daemon, gate, tmp_path
):
    php.queue("b", batch_limit=200, **UNRUN)
    (held,), ids = php.push("b", "hold", str(gate)), php.push("b", "php:succeed", times=199)
    state = tmp_path / "daemon0/state"
    state.mkdir(parents=True)
    disk = f'mount -t tmpfs -o size=64k none {state} && exec "$@"'
    running = daemon(
        settings(table(php), count=1, crash_limit=1), prefix=("unshare", "-m", "sh", "-c", disk, "sh")
    )
    wait_until(lambda: held in php.started(), "it runs")
    filler = Path(f"/proc/{running.pid}/root{state}/filler")
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 20))
    gate.touch()
    lost = running.event("pipe_lost")
    assert lost["cause"] == "not_noted"
    assert "cannot note that task" in lost["reason"]
    filler.unlink()
    wait_until(lambda: php.left() == 0, "all items gone")

    def ended():
        """How often each item ended; the log hears of the last batch after its rows are gone."""
        done = running.events("task_done", outcome="ok")
        return Counter(event["item"] for event in done + running.events("settled", fate="finished"))

    wait_until(lambda: ended().total() >= len([held, *ids]), "all of them in the log")
    assert ended() == Counter([held, *ids])
    assert not running.events("poisoned")


def test_a_task_that_makes_the_dispatcher_anew_does_not_silence_the_notes(php, daemon, gate):
    made, held = (php.push("a", *task)[0] for task in (("rebuild",), ("hold", str(gate))))
    running = daemon(settings(table(php), count=1))
    wait_until(lambda: held in php.started(), "it runs")
    (notes,) = (running.folder / "state/claims").glob("*.begun")
    assert [line.split()[:2] for line in notes.read_text().splitlines()[2:]] == [
        ["begun", made],
        ["ended", made],
        ["begun", held],
    ]
    gate.touch()
    assert all_run(php, [made, held])


def test_of_another_runner_a_batch_that_was_handed_over_is_begun(php, daemon, gate):
    php.queue("b", runner="letters", batch_limit=3, **UNRUN)
    first, held, last = (php.push("b", *task)[0] for task in (("empty",), ("hold", str(gate)), ("empty",)))
    running = daemon(settings(table(php), count=1))
    wait_until(lambda: held in php.started(), "it runs")  # the last one first
    os.kill(int(php.written()[0][4]), SIGKILL)
    running.event("settled", count=3)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {first: "try_counted", held: "try_counted", last: "finished"}


def test_of_another_runner_a_batch_that_was_not_handed_over_costs_no_try(php, daemon, tmp_path, gate):
    php.configure(listeners={"civi.api.prepare": "park"})
    php.queue("b", runner="letters", batch_limit=3, **UNRUN)
    ids = php.push("b", "empty", times=3)
    gate.touch()
    running = daemon(settings(table(php), count=1))
    assert all_run(php, ids)
    assert running.event("task_done", count=3)


def test_each_task_of_a_batch_has_its_own_time(site, daemon):
    site.queue("a", batch_limit=3, **UNRUN)
    ids = site.push("a", "nap", 0.6, times=3)
    running = daemon(settings(site_table(site), count=1, task_timeout=1))
    assert all_run(site, ids)
    running.event("task_done", count=3)
    assert all(0.6 <= event["seconds"] < 1.0 for event in running.events("task_done"))
    assert not running.events("overdue")


def test_a_task_that_hangs_ends_alone(site, daemon):
    site.queue("a", batch_limit=3, **UNRUN)
    ids = [site.push("a", "nap", seconds)[0] for seconds in (0.6, 3600, 0.0)]
    running = daemon(settings(site_table(site), count=1, task_timeout=1))
    running.event("settled", count=3)
    fates = [event["fate"] for item in ids for event in running.events("settled", item=item)]
    assert fates == ["finished", "try_counted", "given_back"]


def test_nothing_is_left_of_the_notes(site, daemon):
    site.queue("a")
    site.push("a", "empty", times=3)
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=3)
    folder = running.folder / "state/claims"
    assert len(list(folder.glob("*.begun"))) == 2
    running.stop()
    assert not list(running.folder.rglob("*.begun"))
