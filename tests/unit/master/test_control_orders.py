"""Before rows are judged, all who work say what they kept back."""

from support.records import change_queue, working_site

from coworker.ipc import messages as m
from coworker.master.control_orders import FLUSH_PATIENCE
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
