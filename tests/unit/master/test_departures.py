"""The end of a child: why it left, what becomes of what it had in hand, and when."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import INFO, Narrator, batches, heard, known
from support.records import working_site

from coworker.claims.journal import Journal, child_file
from coworker.ipc import messages as m
from coworker.master.pipe_groups import PipeGroup
from coworker.model import SYSTEM, ExitStatus, Identity, Item, Lease, MasterPhase, RetireReason, WorkerState
from coworker.policy.backoff import PROBE_CAP

KILLED = ExitStatus(signal=9)


class World:
    """A site and its worker, which runs item 7 and holds item 8 for another contact, at second 2."""

    def __init__(self, folder, *, runs=True):
        self.master, self.site, self.worker = working_site(folder)
        self.control = self.master.records[0]
        self.path = child_file(self.master.claims, self.worker.life.pid, self.worker.id)
        if runs:
            items = [[None, None, ["7"]], [100, 1, ["8"]]]
            self.site.heard(self.worker, m.Claimed("2.1", "q", items, 2.0, 0.05), 2.0)

    def journal(self):
        """Its journal, that says the same."""
        journal = Journal(self.path, "s", os.getpid())
        journal.claiming(INFO, 1.9)
        items = [Item("7"), Item("8", Identity(100, 1))]
        journal.claimed("2.1", items, Lease(2.0, 0.05), begun=["7"])
        return journal

    def ended(self, status=KILLED, now=3.0):
        """It exits, and the site decides; what is to be settled of it then."""
        self.site.ended(self.worker, status, now)
        self.site.decide(now)
        return [entry.part for entry in self.site.dispatch.settler.settlements.of_claims()]

    def line(self, event):
        (line,) = [(level, fields) for level, name, fields in self.master.log.lines if name == event]
        return line


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_one_that_died_in_the_midst_of_a_task_is_an_error_and_the_task_is_told_from_what_it_only_held(world):
    (part,) = world.ended()
    assert (part.sent, part.unsent) == (["7"], ["8"])
    assert (part.stopped_by_us, part.blameless) == (False, False)
    level, line = world.line("gone")
    assert (level, line["reason"], line["status"]) == ("error", "crashed", "signal 9 (SIGKILL)")
    assert "crashed" in part.cause
    assert world.worker.life.state is WorkerState.GONE


def test_the_last_words_of_its_pipe_are_the_cause(world):
    world.site.heard(world.worker, m.Failed("died", "PHP said no"), 2.5)
    (part,) = world.ended(ExitStatus(0))
    assert part.cause == "PHP said no"
    assert world.line("gone")[0] == "info", "that it leaves was known"


def test_one_that_the_kernel_killed_is_told_from_one_that_somebody_killed(world):
    world.site.departures.oom = SimpleNamespace(has_killed=lambda: True)
    (part,) = world.ended()
    assert "no memory" in part.cause


def test_one_that_ended_by_itself_was_not_killed_by_the_kernel_whatever_that_did_meanwhile(world):
    world.site.departures.oom = SimpleNamespace(has_killed=lambda: True)
    (part,) = world.ended(ExitStatus(1))
    assert "no memory" not in part.cause


def test_nothing_is_settled_while_anything_of_its_pipe_runs(world, monkeypatch):
    world.journal()
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: None)
    assert world.ended() == []
    assert world.path.exists(), "it is all that a next start would know"
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: False)
    world.site.decide(4.0)
    assert len(world.site.dispatch.settler.settlements.of_claims()) == 1
    assert not world.path.exists(), "the checkpoint has it now"
    assert list(world.master.claims.glob("site-*.claims"))


def test_what_it_had_in_hand_is_out_of_sight_where_nobody_can_tell_whose_a_process_is(world, monkeypatch):
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: True)
    (part,) = world.ended()
    assert (part.sent, part.unsent, part.out_of_sight) == (["7"], ["8"], True)


@pytest.mark.parametrize("said", ["nothing", "claiming", "Bye", "Bye, but"])
def test_what_left_the_group_is_sought_where_something_was_in_hand_and_nobody_saw_to_it(tmp_path, said):
    world = World(tmp_path, runs=False)
    if said != "nothing":
        world.site.heard(world.worker, m.Claiming("q", 2.5), 2.6)
    if said.startswith("Bye"):
        world.site.heard(world.worker, m.Bye("died", "exit status 0", survives=said != "Bye"), 2.6)
    marks = world.site.departures._marks(world.worker, booting=False)
    assert marks.everywhere is (said in ("claiming", "Bye, but"))
    assert marks.below == os.getpid()
    assert len(marks.token) == 32


def test_what_a_boot_left_behind_is_sought_too(world):
    assert world.site.departures._marks(world.control, booting=True).everywhere
    assert not world.site.departures._marks(world.control, booting=False).everywhere


def test_one_that_died_claiming_is_searched_for_and_its_queue_backs_off_for_a_moment(tmp_path):
    world = World(tmp_path, runs=False)
    world.site.heard(world.worker, m.Claiming("q", 2.5), 2.6)
    assert world.ended(now=3.0) == []
    (lost,) = world.site.dispatch.settler.settlements.lost_claims()
    assert (lost.queue.name, lost.since, lost.until) == ("q", 2.5, 3.0)
    assert world.line("claim_unanswered")[1]["queue"] == "q"
    state = world.site.dispatch.queues.states["q"]
    assert 3.0 < state.retry_at <= 3.0 + PROBE_CAP
    assert (state.working, state.demand) == (0, 1), "there may be work left"


def test_claims_that_bring_down_one_pipe_after_another_wait_for_no_longer_than_a_probe(tmp_path):
    world = World(tmp_path, runs=False)
    for number in range(20):
        world.site.dispatch.queues.claim_failed("q", f"again {number}", 2.0)
    world.site.heard(world.worker, m.Claiming("q", 2.5), 2.6)
    world.ended(now=3.0)
    assert world.site.dispatch.queues.states["q"].retry_at <= 3.0 + PROBE_CAP


def test_what_a_journal_says_beyond_what_was_heard_counts(tmp_path):
    world = World(tmp_path, runs=False)
    world.journal()
    (part,) = world.ended()
    assert (part.sent, part.unsent) == (["7"], ["8"])


def test_one_that_said_bye_had_said_all(tmp_path):
    world = World(tmp_path, runs=False)
    world.journal()
    world.site.heard(world.worker, m.Bye("shutdown", "exit status 0"), 2.5)
    assert world.ended(ExitStatus(0)) == []
    assert not world.site.dispatch.settler.settlements.lost_claims()
    assert world.line("gone")[0] == "info"


def test_a_journal_that_nobody_can_read_is_an_error_and_no_more(world):
    world.path.mkdir()
    (part,) = world.ended()
    assert part.sent == ["7"]
    assert world.line("journal_unreadable")[1]["file"] == str(world.path)


def test_one_that_came_to_nothing_has_no_journal_and_that_is_no_error(world):
    world.ended()
    assert "journal_unreadable" not in world.master.logged


def test_what_the_end_of_a_stop_killed_was_stopped_by_us(world):
    world.site.stop(MasterPhase.HALTING, 2.5)
    (part,) = world.ended()
    assert part.stopped_by_us


def test_a_graceful_stop_is_no_excuse_for_who_dies_meanwhile(world):
    world.site.stop(MasterPhase.STOPPING, 2.5)
    world.site.decide(2.5)
    assert world.worker.life.state is WorkerState.RETIRING
    (part,) = world.ended()
    assert not part.stopped_by_us


def test_a_task_that_had_all_its_time_is_to_blame_also_at_a_stop(world):
    world.site.watchdog.next_rung(world.worker, 2.4)
    assert world.worker.life.retire_reason is RetireReason.TIMEOUT
    world.site.stop(MasterPhase.HALTING, 2.5)
    (part,) = world.ended()
    assert not part.stopped_by_us


def test_a_pipe_that_broke_by_itself_was_not_stopped_by_us(world):
    world.site.heard(world.worker, m.Failed("died", "segmentation fault"), 2.4)
    world.site.stop(MasterPhase.HALTING, 2.5)
    (part,) = world.ended()
    assert not part.stopped_by_us


@pytest.mark.parametrize(("cause", "blameless"), [("database", True), ("died", False), ("memory", False)])
def test_a_task_is_not_to_blame_for_a_lost_database(world, cause, blameless):
    world.site.heard(world.worker, m.Failed(cause, "x"), 2.4)
    (part,) = world.ended(ExitStatus(0))
    assert part.blameless is blameless


def test_what_a_control_that_is_gone_was_asked_is_asked_again(world):
    world.ended()
    world.site.decide(3.1)
    assert [entry.asked for entry in world.site.dispatch.settler.settlements.of_claims()] == [
        world.control.id
    ]
    world.site.ended(world.control, KILLED, 3.2)
    assert [entry.asked for entry in world.site.dispatch.settler.settlements.of_claims()] == [None]


@pytest.mark.parametrize(
    ("reason", "level"), [(RetireReason.MAX_AGE, "debug"), (RetireReason.RELOAD, "info"), (None, "error")]
)
def test_that_control_is_replaced_every_two_minutes_is_nobodys_news(world, reason, level):
    if reason is not None:
        world.site.staff.retire(world.control, reason, 2.5)
    world.site.ended(world.control, ExitStatus(0), 3.0)
    assert world.line("gone")[0] == level


def test_nobody_waits_for_one_that_is_gone_to_say_what_it_kept_back(world):
    barrier = world.site.control_orders.barrier
    assert barrier.passed(frozenset({1}), 2.5) is None
    world.site.ended(world.worker, KILLED, 2.6)
    assert barrier.passed(frozenset({1}), 2.6) == {1}


# --- what it left unsaid ---


@pytest.fixture
def idle_worker(tmp_path):
    """A master, its site, and a worker that has said nothing of claims."""
    return working_site(tmp_path)


@given(batches, st.data())
def test_after_its_death_the_master_knows_as_much_as_if_it_had_said_all(tmp_path_factory, drawn, data):
    folder = tmp_path_factory.mktemp("claims")
    master, site, record = working_site(folder)
    child = Narrator(record)
    for size, ends in drawn:
        child.batch(size, runs=True, ends=ends)
        if not ends:
            break  # it died in this one
    died = data.draw(st.integers(0, len(child.steps)))
    said = data.draw(st.integers(0, died))
    journal = Journal(child_file(folder, record.life.pid, record.id), "s", os.getpid())
    for _, note in child.steps[:died]:
        note(journal)
    heard(site, record, child.steps[:said], data.draw(st.sets(st.integers(0, len(child.steps)))) or {-1})
    if any(isinstance(report, m.Idle) for report, _ in child.steps[said:died]):
        return  # an order is never over before that was said
    site.departures.hear_unsaid(record, site.heard, 6.0)

    _, twin, twin_record = working_site(tmp_path_factory.mktemp("claims"))
    heard(twin, twin_record, child.steps[:died])
    entries, claiming = known(site, record)
    expected, expected_claiming = known(twin, twin_record)
    assert expected.items() <= entries.items()
    # What ended last, and that a claim gave nothing, is noted with the next line: its rows will tell.
    last = child.steps[died - 1][0] if died else None
    surplus = {item_id for _, ids in last.outcomes for item_id in ids} if isinstance(last, m.Done) else set()
    assert entries.keys() - expected.keys() <= surplus
    if last is not None:
        assert claiming == expected_claiming
    assert not [event for event in master.logged if event == "journal_unreadable"]


def test_a_journal_that_could_not_be_written_takes_nothing_back_that_was_said(idle_worker):
    master, site, record = idle_worker
    journal = Journal(child_file(master.claims, record.life.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    site.heard(record, m.Claiming("q", 3.0), 3.1)  # the disk is full then: the answer was said at once
    site.heard(record, m.Claimed(f"{record.id}.1", "q", [[None, None, ["7"]]], 3.1, 0.1), 3.1)
    site.departures.hear_unsaid(record, site.heard, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_lines_that_nobody_can_read_and_a_torn_one_are_passed_over(idle_worker):
    master, site, record = idle_worker
    path = child_file(master.claims, record.life.pid, record.id)
    journal = Journal(path, "s", os.getpid())
    journal.claiming(INFO, 3.0)
    with path.open("ab") as stream:
        stream.write(b"garbage\n[]\n3\n")
    journal.claimed(f"{record.id}.1", [Item("7", SYSTEM)], Lease(3.1, 0.1), begun=["7"])
    with path.open("ab") as stream:
        stream.write(b'["took","x')
    site.departures.hear_unsaid(record, site.heard, 6.0)
    assert known(site, record) == ({"7": True}, None)


def test_what_was_claimed_unheard_is_settled_when_its_worker_is_gone(idle_worker):
    master, site, record = idle_worker
    journal = Journal(child_file(master.claims, record.life.pid, record.id), "s", os.getpid())
    journal.claiming(INFO, 3.0)
    journal.claimed(
        f"{record.id}.1", [Item("7", SYSTEM), Item("8", SYSTEM)], Lease(3.1, 0.1), begun=["7", "8"]
    )
    site.ended(record, ExitStatus(signal=9), 4.0)
    site.decide(4.1)
    (order,) = [order for _, order in master.sent if isinstance(order, m.Settle)]
    assert (order.part.sent, order.part.unsent) == (["7", "8"], [])


# --- whose fault it was ---


@pytest.mark.parametrize(
    ("cause", "phase", "expected"),
    [
        ("signal", MasterPhase.RUNNING, (False, True)),
        ("signal", MasterPhase.STOPPING, (True, True)),
        ("died", MasterPhase.RUNNING, (False, False)),
        ("died", MasterPhase.STOPPING, (True, False)),
        ("timeout", MasterPhase.STOPPING, (False, False)),
        ("memory", MasterPhase.STOPPING, (False, False)),
    ],
)
def test_whose_fault_the_loss_of_a_pipe_was(world, cause, phase, expected):
    if phase.ends:
        world.site.stop(phase, 2.4)
    world.site.heard(world.worker, m.Failed(cause, "x"), 2.5)
    (part,) = world.ended(ExitStatus(0))
    assert (part.stopped_by_us, part.signalled) == expected


def test_a_stop_that_is_noticed_after_the_signal_that_it_sent_to_all_is_a_stop(world, monkeypatch):
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: None)
    world.site.heard(world.worker, m.Failed("signal", "x"), 2.5)
    assert world.ended(ExitStatus(0)) == []
    world.site.stop(MasterPhase.STOPPING, 3.1)
    monkeypatch.setattr(PipeGroup, "look", lambda _group, _now: False)
    world.site.decide(4.0)
    (entry,) = world.site.dispatch.settler.settlements.of_claims()
    assert entry.part.stopped_by_us
