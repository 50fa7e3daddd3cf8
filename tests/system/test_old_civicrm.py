"""CiviCRM before 6.4 has no QueueItem API: tasks run; what would have to be settled stays leased."""

import os
from signal import SIGKILL

import pytest
from support.daemon import wait_until
from support.evidence import contact_of, contacts_of, outcomes, run_once
from support.tables import settings, site_table

FIVE_77 = "5.77.beta1"
RELEASES = ["5.51", "5.56.0", "5.67.1", FIVE_77, "6.1.0", "6.3.2"]


def old(site, version=FIVE_77):
    return site_table(site.command(f"--as-version {version}"))


@pytest.mark.parametrize("version", RELEASES)
def test_tasks_run_on_every_release(site, daemon, version):
    site.queue("a", batch_limit=3, retry_limit=1)
    site.queue("steps", type="Sql")
    ids = site.push("a", "empty", times=10) + site.push("steps", "empty", times=10)
    (again,) = site.push("a", "fail_until", 1)
    running = daemon(settings(old(site, version), count=2))
    assert running.events("ready")[0]["version"] == version
    running.event("task_done", count=22)
    assert site.left() == 0
    assert sorted(site.started("steps"), key=int) == site.started("steps")
    assert sorted(set(site.started()), key=int) == [*ids, again]
    assert site.started().count(again) == 2
    assert len(site.started()) == 22


@pytest.mark.parametrize("version", ["5.51", FIVE_77])
def test_identities_are_kept_apart(site, daemon, version):
    site.contact(100)
    site.contact(101)
    site.queue("a", batch_limit=3)
    ids = {}
    for who in (100, 101, None) * 4:
        ids[site.push("a", "empty", run_as=who)[0]] = "system" if who is None else str(who)
    running = daemon(settings(old(site, version), count=3))
    wait_until(lambda: site.left() == 0, "all items gone")
    running.event("task_done", count=12)
    assert contact_of(site.written()) == {item: [who] for item, who in ids.items()}
    assert all(len(served) == 1 for served in contacts_of(site.written()).values())


def test_handed_items_wait_for_the_slowest_boot_as_they_cannot_go_back(site, daemon):
    site.contact(100)
    site.queue("a", batch_limit=2)
    ids = [site.push("a", "empty", run_as=who)[0] for who in (100, None)]
    slow = site_table("sleep 2.5; " + site.command(f"--as-version {FIVE_77}"))
    running = daemon(settings(slow, count=2), wait=None)
    wait_until(lambda: site.left() == 0, "all items gone")
    assert run_once(site, ids)
    assert not running.events("left_leased")


def test_what_must_be_settled_stays_leased_and_an_error_names_it(site, daemon, tmp_path):
    gate = tmp_path / "gate"
    site.queue("a", batch_limit=2, lease_time=3600)
    held = site.push("a", "hold", str(gate), times=2)
    running = daemon(settings(old(site), count=1))
    wait_until(lambda: site.started() == held[:1], "the batch runs")
    os.kill(int(site.written()[0][4]), SIGKILL)
    left = running.event("left_leased")
    assert left["level"] == "error"
    assert left["queue"] == "a"
    assert left["items"] == ",".join(held)
    assert left["lease_seconds"] == 3600
    assert "QueueItem" in left["reason"]
    assert all(run_count == 1 and release_time for run_count, release_time in site.rows("a").values())
    gate.touch()
    ids = site.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert site.started() == [held[0], *ids]
    assert list(site.rows("a")) == held


def test_an_error_that_the_handler_does_not_catch_leaves_the_batch_leased_and_the_work_goes_on(site, daemon):
    site.queue("a", batch_limit=3)
    (first,) = site.push("a", "empty")
    (broken,) = site.push("a", "nap", "no number")
    (third,) = site.push("a", "empty")
    running = daemon(settings(old(site), count=1))
    left = running.event("left_leased")
    assert left["items"] == f"{first},{broken},{third}"
    assert running.event("run_unanswered")["level"] == "error"
    ids = site.push("a", "empty", times=3)
    running.event("task_done", count=3)
    assert sorted(site.rows("a")) == sorted([broken, third])
    assert site.ended() == [first, *ids]
    assert not running.events("pipe_lost")


def test_after_an_abort_the_rest_of_the_batch_is_run_all_the_same(site, daemon):
    site.queue("a", batch_limit=3, error="abort")
    (failing,) = site.push("a", "fail")
    rest = site.push("a", "empty", times=2)
    running = daemon(settings(old(site), count=1))
    running.event("task_done", count=3)
    assert outcomes(running.events("task_done"))[failing] == ["abort"]
    assert run_once(site, [failing, *rest])
