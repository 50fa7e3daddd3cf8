"""What control is asked, and when: before rows are judged, all who work say what they kept back."""

from dataclasses import replace

import pytest
from support.fake_master import FakeMaster
from support.records import change_queue, site_settings, work_found, working_site

from coworker.ipc import messages as m
from coworker.master.control_orders import FLUSH_PATIENCE
from coworker.master.site import Site
from coworker.model import ExitStatus, MasterPhase, Role


def test_before_rows_are_judged_all_who_work_are_asked_what_they_kept_back(tmp_path):
    master, site, record = working_site(tmp_path, count=2)
    other = next(r for r in master.records if r.role is Role.WORKER and r is not record)
    site.heard(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    assert other.work.queue == "q"
    site.ended(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    assert (other.id, m.Flush()) in master.sent
    assert not [order for _, order in master.sent if isinstance(order, m.Settle)]
    # What it kept back: it has claimed the row again, so that is no more the dead one's.
    site.heard(other, m.Claimed(f"{other.id}.1", "q", [[None, None, ["7"]]], 3.0, 0.0), 3.2)
    site.heard(other, m.Flushed(), 3.2)
    site.decide(3.2)
    assert not [order for _, order in master.sent if isinstance(order, m.Settle)]
    assert [claim.id for claim in site.dispatch.ledger.claims.values()] == [f"{other.id}.1"]


def test_who_is_stopped_and_says_nothing_holds_up_settling_for_a_moment_only(tmp_path):
    master, site, record = working_site(tmp_path, count=2)
    site.heard(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    site.ended(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    late = 3.1 + FLUSH_PATIENCE
    assert site.effects.timers.next_at <= late
    site.decide(late)
    assert [order.part.sent for _, order in master.sent if isinstance(order, m.Settle)] == [["7"]]


def test_at_a_stop_nobody_waits_for_those_who_have_left(tmp_path):
    master, site, record = working_site(tmp_path, count=2)
    site.heard(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 2.0, 0.0), 2.0)
    change_queue(site.dispatch, demand=True)
    site.decide(2.1)
    other = next(r for r in master.records if r.work.queue and r is not record)
    site.ended(record, ExitStatus(signal=9), 3.0)
    site.decide(3.1)
    site.stop(MasterPhase.HALTING, 3.2)
    site.ended(other, ExitStatus(signal=9), 3.3)
    site.decide(3.3)
    assert [order.part.sent for _, order in master.sent if isinstance(order, m.Settle)] == [["7"]]


# --- tokens ---


def two_workers(folder):
    """A master, its site, its control, a worker that works "q" and one that is free."""
    master, site, busy = working_site(folder, count=2)
    free = next(r for r in master.records if r.role is Role.WORKER and r is not busy)
    return master, site, master.records[0], busy, free


def sent_to(master, record, kind):
    return [order for record_id, order in master.sent if record_id == record.id and isinstance(order, kind)]


def test_a_token_that_is_wanted_is_made_by_control_and_carried_to_who_wanted_it(tmp_path):
    master, site, control, busy, free = two_workers(tmp_path)
    site.heard(busy, m.TokenWanted(100), 2.0)
    site.heard(free, m.TokenWanted(100), 2.0)
    assert sent_to(master, control, m.IssueToken) == [m.IssueToken(busy.id, 100), m.IssueToken(free.id, 100)]
    site.heard(control, m.TokenIssued(free.id, 100, "secret"), 2.1)
    site.heard(control, m.TokenIssued(busy.id, 100, "", "no such contact"), 2.1)
    assert sent_to(master, free, m.Token) == [m.Token(100, "secret")]
    assert sent_to(master, busy, m.Token) == [m.Token(100, "", "no such contact")]


def test_where_there_is_no_control_the_worker_may_ask_again(tmp_path):
    master, site, control, busy, _ = two_workers(tmp_path)
    site.ended(control, ExitStatus(signal=9), 2.0)
    site.heard(busy, m.TokenWanted(100), 2.1)
    assert sent_to(master, busy, m.Token) == [m.Token(100, "", m.NO_CONTROL)]


def test_when_control_goes_those_that_wait_for_it_may_ask_again_and_are_told_once(tmp_path):
    master, site, control, busy, free = two_workers(tmp_path)
    site.heard(busy, m.TokenWanted(100), 2.0)
    site.heard(free, m.TokenWanted(200), 2.0)
    site.heard(control, m.TokenIssued(free.id, 200, "secret"), 2.1)
    site.ended(control, ExitStatus(signal=9), 2.2)
    assert sent_to(master, busy, m.Token) == [m.Token(100, "", m.NO_CONTROL)]
    assert sent_to(master, free, m.Token) == [m.Token(200, "secret")]
    assert not site.control_orders.tokens.asked, "or its successor would seem to have something to do"
    site.decide(3.0)
    successor = next(r for r in reversed(master.records) if r.role is Role.CONTROL)
    site.heard(successor, m.Ready("6.13.3", 0.5), 3.5)
    site.heard(busy, m.TokenWanted(100), 3.6)
    assert sent_to(master, successor, m.IssueToken) == [m.IssueToken(busy.id, 100)]
    site.ended(successor, ExitStatus(signal=9), 3.7)
    assert len(sent_to(master, busy, m.Token)) == 2


def test_a_token_for_a_worker_that_has_gone_is_for_nobody(tmp_path):
    master, site, control, busy, _ = two_workers(tmp_path)
    site.heard(busy, m.TokenWanted(100), 2.0)
    site.ended(busy, ExitStatus(signal=9), 2.1)
    site.heard(control, m.TokenIssued(busy.id, 100, "secret"), 2.2)
    assert not sent_to(master, busy, m.Token)


# --- fetches: control claims for workers that cannot ---


def hybrid_site(folder, count=2):
    """A master, its site and its control; work is over HTTP, and its workers are free."""
    master = FakeMaster(folder)
    settings = site_settings(count=count, boot_budget=count)
    site = Site(replace(settings, web="https://example.com", channel="pipe,web"), master)
    site.decide(1.0)
    for each in master.records:
        site.heard(each, m.Ready("6.13.3", 0.5), 1.5)
    site.decide(1.6)
    return master, site, master.records[0]


def handed(site, control, claim, ids):
    """Control fetched these, for contact 100."""
    site.heard(control, m.Claimed(claim, "q", [[100, None, ids]], 2.0, 0.1), 2.0)
    site.heard(control, m.HandedOff(claim, ids), 2.0)


def test_a_batch_is_fetched_only_while_somebody_is_free_to_run_it(tmp_path):
    master, site, control = hybrid_site(tmp_path)
    site.heard(control, work_found("q", "r", "t"), 1.7)
    site.decide(1.7)
    assert not [order for _, order in master.sent if isinstance(order, m.Work)], "they cannot claim"
    fetches = [order.info.name for order in sent_to(master, control, m.Fetch)]
    assert len(fetches) == 2, "there are two workers"
    site.decide(1.8)
    assert len(sent_to(master, control, m.Fetch)) == 2, "two are under way"
    site.heard(control, m.Fetched(fetches[0], got=False), 1.9)
    site.decide(1.9)
    assert len(sent_to(master, control, m.Fetch)) == 3
    assert sent_to(master, control, m.Fetch)[-1].info.name not in fetches


def test_what_was_fetched_goes_to_who_is_free_and_nothing_more_is_fetched_for_them(tmp_path):
    master, site, control = hybrid_site(tmp_path, count=1)
    worker = master.records[1]
    site.heard(control, work_found("q"), 1.7)
    site.decide(1.7)
    handed(site, control, "1.1", ["7"])
    site.heard(control, m.Fetched("q", got=True), 2.0)
    site.decide(2.1)
    assert [order.items for order in sent_to(master, worker, m.Run)] == [[[100, None, ["7"]]]]
    site.decide(2.2)
    assert len(sent_to(master, control, m.Fetch)) == 1, "nobody is free"
    site.heard(worker, m.RunSent("1.1", ["7"]), 2.3)
    site.heard(worker, m.Done("1.1", [["ok", ["7"]]], 0.1), 2.4)
    site.heard(worker, m.Idle("q", "ran"), 2.4)
    site.decide(2.4)
    assert len(sent_to(master, control, m.Fetch)) == 2


def test_a_fetch_that_found_nothing_proves_that_there_is_no_work_and_a_failed_one_does_not(tmp_path):
    _, site, control = hybrid_site(tmp_path)
    site.heard(control, work_found("q", "r"), 1.7)
    site.decide(1.7)
    site.heard(control, m.Fetched("q", got=False), 1.8)
    site.heard(control, m.ClaimFailed("r", "paused"), 1.8)
    site.heard(control, m.Fetched("r", got=False, failed=True), 1.8)
    states = site.dispatch.queues.states
    assert [states[name].empty for name in "qr"] == [1, 0]
    assert [states[name].working for name in "qr"] == [0, 0]
    assert states["r"].retry_at > 1.8


def test_what_a_control_that_is_gone_was_to_fetch_the_next_one_fetches(tmp_path):
    master, site, control = hybrid_site(tmp_path, count=1)
    site.heard(control, work_found("q"), 1.7)
    site.decide(1.7)
    site.ended(control, ExitStatus(signal=9), 2.0)
    assert site.dispatch.queues.states["q"].working == 0
    site.decide(2.1)
    successor = next(r for r in reversed(master.records) if r.role is Role.CONTROL)
    site.heard(successor, m.Ready("6.13.3", 0.5), 2.5)
    site.decide(2.5)
    assert [order.info.name for order in sent_to(master, successor, m.Fetch)] == ["q"]


# --- what its answers mean ---


@pytest.mark.parametrize(
    ("report", "again"),
    [
        (work_found("q"), True),
        (work_found(), True),  # the queue that was known is gone
        (m.LookFailed("Access denied"), True),
        (m.TokenIssued(9, 100, "secret"), False),
        (m.Settled(9, []), True),
        (m.SettleFailed(9, "Access denied", final=False), True),
        (m.Inspected("9.9", [], 0.0, 0.0), False),
        (m.InspectFailed("9.9", "Access denied"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_answers_say_that_there_is_something_to_decide(tmp_path, report, again):
    master, site, _ = working_site(tmp_path)
    site.dirty = False
    site.heard(master.records[0], report, 2.0)
    assert site.dirty is again


def test_a_worker_whose_one_task_had_all_its_time_is_ended_when_control_has_looked(tmp_path):
    master, site, worker = working_site(tmp_path)
    site.heard(worker, m.Claimed("2.1", "q", [[None, None, ["7", "8"]]], 2.0, 0.05), 2.0)
    control, late = master.records[0], 2.1 + site.settings.workers.task_timeout
    site.decide(late)
    (asked,) = sent_to(master, control, m.Inspect)
    site.dirty = False
    site.heard(control, m.Inspected(asked.claim, asked.ids, 0.0, 0.0), late + 0.1)
    assert site.dirty
    assert sent_to(master, worker, m.Retire) == [m.Retire("timeout", now=True)]


def test_a_control_that_answers_has_its_whole_time_for_the_rest_and_none_when_nothing_is_left(tmp_path):
    master, site, control = hybrid_site(tmp_path)
    site.heard(control, work_found("q", "r"), 1.7)
    site.decide(1.7)
    patience = site.settings.workers.boot_timeout
    site.heard(control, m.Fetched("q", got=False), 20.0)
    master.timers.run(1.7 + patience + 1.0)
    assert control.id not in master.signalled
    site.heard(control, m.Fetched("r", got=False), 40.0)
    site.heard(control, work_found(), 40.0)  # of the look that was due meanwhile
    master.timers.run(10_000.0)
    assert control.id not in master.signalled
