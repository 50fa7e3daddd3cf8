"""No task ever runs under a wrong identity, and none is lost for its identity."""

import time

import pytest
from support.daemon import wait_until
from support.evidence import contact_of, contacts_of, outcomes, run_once
from support.tables import settings, site_table

MISSING = 999


@pytest.fixture
def contacts(site):
    """Contacts that tasks may run as."""
    made = [100, 101, 102, 103, 104, 105]
    for contact in made:
        site.contact(contact)
    return made


def push_mixed(site, queue, identities, rounds):
    """Tasks of these contacts (None: the system) in turn. Returns {item: who must be in the journal}."""
    expected = {}
    for _ in range(rounds):
        for who in identities:
            (item,) = site.push(queue, "empty", run_as=who)
            expected[item] = "system" if who is None else str(who)
    return expected


def assert_right(site, expected):
    """Every item ran once under its own identity, and no pipe served two."""
    assert contact_of(site.written()) == {item: [who] for item, who in expected.items()}
    assert all(len(served) == 1 for served in contacts_of(site.written()).values())
    assert run_once(site, list(expected))


def test_batches_that_mix_three_identities_run_each_item_under_its_own(site, daemon, contacts):
    site.queue("a", batch_limit=6, retry_limit=0, error="delete")
    expected = push_mixed(site, "a", contacts[:3], rounds=20)
    running = daemon(settings(site_table(site), count=3))
    running.event("task_done", count=len(expected))
    assert_right(site, expected)
    assert {e["outcome"] for e in running.events("task_done")} == {"ok"}


def test_system_tasks_and_contacts_mix_too(site, daemon, contacts):
    site.queue("a", batch_limit=4)
    expected = push_mixed(site, "a", [None, 100, None, 101], rounds=10)
    running = daemon(settings(site_table(site), count=3))
    running.event("task_done", count=len(expected))
    assert_right(site, expected)


def test_more_identities_than_workers_take_turns_and_nothing_is_lost(site, daemon, contacts):
    site.queue("a", batch_limit=6, retry_limit=0, error="delete")
    expected = push_mixed(site, "a", contacts, rounds=4)
    running = daemon(settings(site_table(site), count=2))
    wait_until(lambda: site.left() == 0, "all items gone", seconds=60)
    running.event("task_done", count=len(expected))
    assert_right(site, expected)
    assert running.events("gone", reason="identity")


def test_one_worker_serves_many_identities_one_after_the_other(site, daemon, contacts):
    site.queue("a", batch_limit=3)
    expected = push_mixed(site, "a", [100, 101, None], rounds=2)
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.left() == 0, "all items gone", seconds=60)
    running.event("task_done", count=len(expected))
    assert_right(site, expected)


def test_workers_that_are_bound_do_not_shut_out_an_identity_that_comes_later(site, daemon, contacts):
    site.queue("a")
    first = push_mixed(site, "a", [100, 101], rounds=5)
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=len(first))
    later = push_mixed(site, "a", [102], rounds=5)
    running.event("task_done", count=len(first) + len(later))
    assert_right(site, first | later)


def test_a_contact_that_does_not_exist_is_left_to_civicrms_own_policy_and_others_run(site, daemon, contacts):
    site.queue("a", batch_limit=4, retry_limit=0, error="delete")
    expected = push_mixed(site, "a", [100, None], rounds=3)
    lost = site.push("a", "empty", times=2, run_as=MISSING)
    expected |= push_mixed(site, "a", [100, None], rounds=3)
    running = daemon(settings(site_table(site), count=3))
    running.event("task_done", count=len(expected) + len(lost))
    assert_right(site, expected)
    done = outcomes(running.events("task_done"))
    assert [done[item] for item in lost] == [["delete"]] * 2
    refused = running.event("login_refused")
    assert refused["queue"] == "a"
    assert str(MISSING) in refused["identity"]
    assert "invalid" in refused["reason"]


def test_a_blocked_user_is_refused_by_civicrm_with_a_retry_if_the_queue_has_one(site, daemon, contacts):
    site.queue("a", retry_limit=1, error="delete")
    site.execute("INSERT INTO civicrm_contact (id, user_id, is_blocked) VALUES (200, 7, 1)")
    (item,) = site.push("a", "empty", run_as=200)
    running = daemon(settings(site_table(site), count=1))
    running.event("task_done", item=item, outcome="delete")
    assert outcomes(running.events("task_done"))[item] == ["retry", "delete"]
    assert not site.started()


def test_a_task_of_another_domain_is_given_back_untried_for_a_minute_and_said(site, daemon, contacts):
    site.queue("a", batch_limit=3, retry_limit=0, error="delete")
    (first,) = site.push("a", "empty", run_as=100)
    (foreign,) = site.push("a", "empty", run_as={"contactId": 101, "domainId": 2})
    (last,) = site.push("a", "empty", run_as=100)
    running = daemon(settings(site_table(site), count=2))
    settled = running.event("settled", item=foreign)
    assert settled["fate"] == "given_back"
    run_count, release_time = site.rows("a")[foreign]
    assert run_count == 0
    assert 55 <= release_time - time.time() <= 61
    refused = running.event("items_refused", items=foreign)
    assert refused["level"] == "error"
    assert "no pipe of this site serves domain 2" in refused["reason"]
    running.event("task_done", count=2)
    assert sorted(site.started()) == [first, last]


def test_a_site_without_login_gives_its_contacts_tasks_back_and_runs_the_systems(site, daemon, contacts):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    (mine,) = site.push("a", "empty", run_as=100)
    (systems,) = site.push("a", "empty")
    command = f"{site.command()} | sed -u 's/Contact ID 100 is invalid/Authx is not configured/'"
    site.execute("DELETE FROM civicrm_contact WHERE id = 100")
    running = daemon(settings(site_table(command), count=1))
    running.event("task_done", item=systems, outcome="ok")
    assert running.event("settled", item=mine)["fate"] == "given_back"
    assert site.rows("a")[mine][0] == 0
    assert "Authx is not configured" in running.event("items_refused")["reason"]


def test_the_same_contact_written_in_other_ways_is_the_same_identity(site, daemon, contacts):
    site.queue("a")
    ways = [100, {"contactId": "100", "domainId": "1"}, {"contactId": 100, "domainId": 1}]
    nobody = [None, {"contactId": None, "domainId": 1}]
    ids = [item for way in ways for item in site.push("a", "empty", run_as=way, times=3)]
    ids += [item for way in nobody for item in site.push("a", "empty", run_as=way, times=3)]
    running = daemon(settings(site_table(site), count=2))
    running.event("task_done", count=15)
    ran = contact_of(site.written())
    assert [ran[item] for item in ids] == [["100"]] * 9 + [["system"]] * 6
    assert all(who in ({"100"}, {"system"}) for who in contacts_of(site.written()).values())
    bound = {e["identity"] for e in running.events("task_done")}
    assert bound == {"contact 100, domain 1", "system"}
    assert {e["outcome"] for e in running.events("task_done")} == {"ok"}


def test_a_pipe_that_dies_with_handed_tasks_waiting_loses_none(site, daemon, contacts):
    site.queue("a", batch_limit=4, retry_limit=1)
    (culprit,) = site.push("a", "leave", 3, run_as=100)
    expected = push_mixed(site, "a", [101, 100, 102], rounds=3)
    running = daemon(settings(site_table(site), count=3))
    wait_until(lambda: site.left() == 0, "all items gone", seconds=60)
    ran = contact_of(site.written())
    assert ran.pop(culprit) == ["100", "100"]
    assert ran == {item: [who] for item, who in expected.items()}
    assert all(len(served) == 1 for served in contacts_of(site.written()).values())
    assert running.events("pipe_lost")


def test_handed_tasks_that_nobody_can_take_in_time_go_back_untried(site, daemon, contacts, tmp_path):
    gate = tmp_path / "gate"
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    (held,) = site.push("a", "hold", str(gate), run_as=100)
    (handed,) = site.push("a", "empty", run_as=101)
    running = daemon(settings(site_table(site), count=1, overlap=False))
    settled = running.event("settled", item=handed)
    assert settled["fate"] == "given_back"
    assert "no worker" in settled["cause"]
    assert site.rows("a")[handed] == (0, None)
    assert site.started() == [held]
    gate.touch()
    running.event("task_done", count=2)
    assert_right(site, {held: "100", handed: "101"})
