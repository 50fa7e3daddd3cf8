"""Messages survive the way between master and child."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import Narrator, batches, heard, known
from support.records import working_site

from coworker.errors import ProtocolError
from coworker.ipc import messages as m
from coworker.ipc.link import condense
from coworker.model import Lease, QueueInfo, Unsettled

INFO = QueueInfo("q", "SqlParallel", 5, 600, 1, 60, "abort")
EVERY = [
    m.Look(["a", "b c"], ["d"], ["e"]),
    m.Work(QueueInfo("import/1", "Sql"), 0.5, 3, bind=False),
    m.Run("1.2", INFO, [Lease(1.5, 0.1)], [[100, None, ["7"]]]),
    m.Settle(1, INFO, [Lease(1.5, 0.1)], Unsettled(["1"], ["2"], "x", True, False, True, 60, ["1"])),
    m.Search(2, INFO, 1.5, 2.5, ["1"], sole=False),
    m.Inspect("1.1", INFO, ["1"], [Lease(1.5, 0.1), Lease(9.5)], renew=True),
    m.Fetch(INFO),
    m.IssueToken(3, 100),
    m.Token(100, "jwt", ""),
    m.Flush(),
    m.Pause(),
    m.Retire("reload", True),
    m.Spawned(123),
    m.Ready("6.13.3", 0.7, gives_back=True, domain=1),
    m.BootFailed("no\nluck", 3.0),
    m.WorkFound([INFO, QueueInfo("line", "Sql")], 0.002, ["d"]),
    m.LookFailed("x"),
    m.Fetched("q", got=True),
    m.TokenWanted(100),
    m.TokenIssued(3, 100, "jwt"),
    m.SiteState("Production", False, "6.13.3", "6.13.3", "abc", ""),
    m.NotClaimed("q"),
    m.Claiming("q", 1.5),
    m.Claimed("1.1", "q", [[None, None, ["1"]]], 1.5, 0.1),
    m.HandedOff("1.1", ["1"]),
    m.Refused("1.1", ["1"], "é ☃"),
    m.Bound(100, 1),
    m.RunSent("1.1", ["1"]),
    m.NotBegun("1.1", ["1"]),
    m.Done("1.1", [["ok", ["1"]]], 0.1, {"1": {"error": "x"}}),
    m.BatchDone("1.1", "q", 1.5, 100, 1, [["ok", ["1"]]], 0.1, {}),
    m.Unanswered("1.1", ["1"], "x", False),
    m.Flushed(),
    m.Ended("1.1", ["1"]),
    m.Idle("q", "empty"),
    m.ClaimFailed("q", "x"),
    m.Settled(1, [["1", "finished", ""]]),
    m.SettleFailed(1, "x", True),
    m.Spent("max_memory"),
    m.CodeMoved("/var/www/current"),
    m.Inspected("1.1", ["1"], 1.5, 0.1),
    m.InspectFailed("1.1", "x"),
    m.Failed("died", "x"),
    m.Note("info", "e", {"k": 1}),
    m.Bye("idle", "exit status 0"),
]


@pytest.mark.parametrize("message", EVERY, ids=lambda message: type(message).__name__)
def test_one_line_each_and_back(message):
    line = m.encode(message)
    assert line.count(b"\n") == 1
    assert m.decode(line[:-1]) == message
    for there, back in zip([message, *message], [m.decode(line[:-1]), *m.decode(line[:-1])], strict=True):
        assert type(there) is type(back) or isinstance(back, list)


def test_every_kind_is_tried_here():
    kinds = {*m.Order.__args__, *m.Report.__args__}
    assert kinds == {type(message) for message in EVERY}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'["Nonsense"]',
        b'["Look"]',
        b'["Look",1,2,3,4]',
        b'["Fetch",3]',
        b'["Fetch",[[]]]',
        b"\xff",
        b"3",
    ],
)
def test_anything_else_is_refused(line):
    with pytest.raises(ProtocolError):
        m.decode(line)


def test_a_batch_that_began_and_ended_meanwhile_is_one_report():
    took = m.Claimed("2.1", "q", [[None, None, ["1", "2"]]], 5.5, 0.5)
    done = m.Done("2.1", [["ok", ["1"]], ["retry", ["2"]]], 0.1, {"2": {"error": "x"}})
    worked = m.BatchDone("2.1", "q", 5.0, None, None, done.outcomes, 0.1, done.errors)
    assert condense([m.Claiming("q", 5.0), took, done, m.Claiming("q", 6.0)]) == [
        worked,
        m.Claiming("q", 6.0),
    ]


@pytest.mark.parametrize(
    "reports",
    [
        [
            m.Claimed("2.1", "q", [[None, None, ["1"]], [100, 1, ["2"]]], 5.5, 0.5),
            m.Done("2.1", [["ok", ["1"]]], 0.1),
        ],
        [m.Claimed("2.1", "q", [[None, None, ["1", "2"]]], 5.5, 0.5), m.Done("2.1", [["ok", ["1"]]], 0.1)],
        [
            m.Claimed("2.1", "q", [[100, 1, ["1"]]], 5.5, 0.5),
            m.Bound(100, 1),
            m.Done("2.1", [["ok", ["1"]]], 0.1),
        ],
        [m.Done("2.1", [["ok", ["1"]]], 0.1), m.Claimed("2.2", "q", [[None, None, ["1"]]], 5.5, 0.5)],
        [m.Claiming("q", 5.0), m.Idle("q", "empty")],
    ],
    ids=["two identities", "not all", "a login between", "another's", "nothing came"],
)
def test_what_more_must_be_said_is_said(reports):
    assert condense(reports) == reports


@given(batches, st.data())
def test_reports_that_leave_together_say_the_same_in_fewer_words(tmp_path_factory, drawn, data):
    worlds = [working_site(tmp_path_factory.mktemp("claims")) for _ in range(2)]
    told = []
    for condensed, (_, site, record) in zip((True, False), worlds, strict=True):
        child = Narrator(record)
        for size, ends in drawn:
            child.batch(size, runs=True, ends=ends)
            if not ends:
                break
        child.steps.append(
            (m.Claiming("q", child.now + 1.0), None)
        )  # a finished batch is never the last word
        flushes = data.draw(st.sets(st.integers(1, len(child.steps)))) or {-1} if condensed else ()
        heard(site, record, child.steps, flushes)
        state = site.dispatch.queues.states["q"]
        told.append(
            (
                *known(site, record),
                (record.work, record.timing.deadline, record.timing.running, record.life.state),
                (
                    state.demand,
                    state.working,
                    state.empty,
                    state.last_identity,
                    state.virtual_time,
                    state.seen,
                ),
            )
        )
    assert told[0] == told[1]
