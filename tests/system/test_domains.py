"""One site with several domains, each with pipes of its own; and how many workers one contact may have."""

import os
import random
from collections import defaultdict
from signal import SIGHUP, SIGKILL

import psutil
import pytest
from support.daemon import wait_until
from support.evidence import run_once
from support.tables import settings, site_table, table

CONTACTS = (100, 101)


@pytest.fixture
def contacts(site):
    for contact in CONTACTS:
        site.contact(contact)


def domain_table(site, number, *, serves=None):
    """[sites.example.domains.NUMBER]; `serves` is the domain that its pipe really has."""
    return table(f"sites.example.domains.{number}", {"pipe": site.command(f"--domain={serves or number}")})


def push_everybody(site, queue, rounds, task="say_domain", *arguments):
    """Tasks of both contacts and of the system, in both domains. Returns {item: (who, domain)}."""
    expected = {}
    for _ in range(rounds):
        for domain in (1, 2):
            for contact in (*CONTACTS, None):
                run_as = {"contactId": contact, "domainId": domain}
                (item,) = site.push(queue, task, *arguments, run_as=run_as)
                expected[item] = (str(contact or "system"), str(domain))
    return expected


def served(site):
    """({item: [(who, domain)]}, {pid: {(who, domain)}}) of what was begun."""
    items, pipes = defaultdict(list), defaultdict(set)
    for word, item, _queue, who, pid, *domain in site.written():
        if word == "start":
            items[item].append((who, *domain))
            pipes[pid].add((who, *domain))
    return items, pipes


def assert_right(site, expected):
    items, pipes = served(site)
    assert dict(items) == {item: [who] for item, who in expected.items()}
    assert all(len(whom) == 1 for whom in pipes.values())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_domains_tasks_run_in_its_own_pipes_whoever_they_run_as(site, daemon, contacts, count):
    site.queue("a", batch_limit=5, retry_limit=0, error="delete")
    expected = push_everybody(site, "a", rounds=4)
    running = daemon(settings(site_table(site), domain_table(site, 2), count=count, boot_budget=2))
    wait_until(lambda: site.left() == 0, "all items gone")
    assert_right(site, expected)
    running.event("task_done", count=len(expected))
    assert {e["outcome"] for e in running.events("task_done")} == {"ok"}
    assert not running.events("items_refused")


def test_pipes_killed_at_random_mix_no_identities_and_lose_none(site, daemon, contacts):
    site.queue("a", batch_limit=4, retry_limit=50)
    expected = push_everybody(site, "a", 6, "say_domain", 0.02)
    rng = random.Random(7)
    running = daemon(settings(site_table(site), domain_table(site, 2), count=2, crash_limit=0))
    for _ in range(6):
        wait_until(lambda: running.workers() or site.left() == 0, "a worker")
        before = len(site.written())
        try:
            os.kill(running.pipe_of(rng.choice(running.workers())), SIGKILL)
        except (IndexError, ProcessLookupError, psutil.NoSuchProcess):
            continue
        wait_until(lambda before=before: len(site.written()) > before or site.left() == 0, "work goes on")
    wait_until(lambda: site.left() == 0, "all items gone")
    items, pipes = served(site)
    assert {item: set(whom) for item, whom in items.items()} == {i: {who} for i, who in expected.items()}
    assert all(len(whom) == 1 for whom in pipes.values())
    assert sorted(set(site.ended())) == sorted(expected)


def test_a_pipe_that_serves_another_domain_than_it_should_is_no_worker_and_its_tasks_wait(
    site, daemon, contacts
):
    site.queue("a", retry_limit=0, error="delete")
    running = daemon(settings(site_table(site), domain_table(site, 2, serves=3), count=2))
    (foreign,) = site.push("a", "say_domain", run_as={"contactId": 100, "domainId": 2})
    failed = running.event("boot_failed")
    assert "of domain 2 serves domain 3" in failed["reason"]
    assert foreign not in site.started()
    assert foreign in site.rows("a")


def test_a_domain_without_pipes_is_said_once_and_its_tasks_are_given_back(site, daemon, contacts):
    site.queue("a", batch_limit=2, retry_limit=0, error="delete")
    foreign = site.push("a", "say_domain", times=6, run_as={"contactId": 100, "domainId": 9})
    running = daemon(settings(site_table(site), domain_table(site, 2), count=2))
    running.event("settled", count=6, fate="given_back")
    assert [tries for tries, _ in site.rows("a").values()] == [0] * 6
    (told,) = running.events("items_refused", level="error")
    assert "domain 9" in told["reason"]
    assert not set(foreign) & set(site.started())


def test_a_domains_own_pipe_may_come_with_a_reload_and_a_bad_one_is_refused(site, daemon, contacts):
    site.queue("a")
    running = daemon(settings(site_table(site), count=1))
    running.configure(settings(site_table(site), domain_table(site, 2, serves=3), count=1))
    running.send(SIGHUP)
    assert "serves domain 3" in running.event("reload_failed")["reason"]
    running.configure(settings(site_table(site), domain_table(site, 2), count=1))
    running.send(SIGHUP)
    running.event("reloaded")
    expected = push_everybody(site, "a", rounds=1)
    running.event("task_done", count=len(expected))
    assert_right(site, expected)


# --- max_per_identity ---


def most_at_once_of(site, who):
    """How many tasks of one contact ran at the same time at most."""
    now = most = 0
    for word, _item, _queue, contact, *_ in site.written():
        if contact == who:
            now += {"start": 1, "end": -1}.get(word, 0)
            most = max(most, now)
    return most


@pytest.mark.parametrize("limit", [1, 2])
def test_a_contact_has_no_more_workers_than_it_may_and_others_have_the_rest(site, daemon, contacts, limit):
    for queue in ("a", "b", "c"):
        site.queue(queue, batch_limit=2, retry_limit=0, error="delete")
    greedy = [i for q in ("a", "b", "c") for i in site.push(q, "nap", 0.05, times=12, run_as=100)]
    modest = site.push("b", "nap", 0.05, times=6, run_as=101) + site.push("c", "nap", 0.05, times=6)
    running = daemon(settings(site_table(site), count=4, boot_budget=4, max_per_identity=limit))
    wait_until(lambda: site.left() == 0, "all items gone")
    assert most_at_once_of(site, "100") == limit
    assert run_once(site, [*greedy, *modest])
    served_100 = {words[4] for words in site.written() if words[3] == "100"}
    assert len(served_100) >= limit
    assert running.stop() == 0


def test_what_waits_for_a_full_contact_is_not_claimed_again_and_again(site, daemon, contacts, gate):
    site.queue("a", retry_limit=0)
    site.queue("b", retry_limit=0)
    (held,) = site.push("a", "hold", str(gate), run_as=100)
    running = daemon(settings(site_table(site), count=3, boot_budget=3, max_per_identity=1))
    wait_until(lambda: site.started() == [held], "one runs")
    waiting = site.push("b", "empty", times=3, run_as=100)
    others = site.push("b", "empty", times=1)
    running.event("settled", fate="given_back")  # handed off, and nobody may take it
    site.push("a", "empty", times=30)
    running.event("task_done", count=30, queue="a")
    assert len(running.events("settled")) <= 8
    assert not set(waiting) & set(site.started())
    gate.touch()
    wait_until(lambda: site.left() == 0, "all items gone")
    assert set(waiting) | set(others) < set(site.ended())


def test_the_system_may_have_all_workers(site, daemon):
    site.queue("a")
    ids = site.push("a", "nap", 0.2, times=9)
    running = daemon(settings(site_table(site), count=3, boot_budget=3, max_per_identity=1))
    running.event("task_done", count=9)
    assert run_once(site, ids)
    assert most_at_once_of(site, "system") == 3
