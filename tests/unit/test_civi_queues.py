"""Queue calls, against a client that answers what CiviCRM did."""

import pytest

from coworker.civi import queues
from coworker.civi.queues import Looker, Row, SiteFeatures
from coworker.errors import CallError, ProtocolError
from coworker.model import SYSTEM, Identity, Item, Outcome, QueueInfo

NO_QUEUE_ITEM = CallError(
    "API (QueueItem, get) does not exist (or the extension it belongs to is not enabled)."
)
NO_QUEUE_RUN = CallError("Api Queue run version 4 does not exist.")
LOST = CallError("DB Error: no database selected")
NOW = "2026-11-21 18:37:27"


class Site:
    """Answers from a table of functions by (entity, action), and keeps what was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.exchanges = 0

    def api4(self, entity, action, params, *, timeout=None):
        answer = self._answer(entity, action, params)
        self.exchanges += 1
        if isinstance(answer, CallError):
            raise answer
        return answer

    def api4_batch(self, calls, *, timeout=None):
        self.exchanges += bool(calls)
        return [self._answer(*call) for call in calls]

    def _answer(self, entity, action, params):
        self.asked.append((entity, action, params))
        answer = self.answers[f"{entity}_{action}"]
        return answer(params) if callable(answer) else answer


def queue(name, **fields):
    return {"id": 1, "name": name, "type": "SqlParallel", "batch_limit": 1, "lease_time": 3600, **fields}


def queue_of(params):
    return next(clause[2] for clause in params["where"] if clause[0] == "queue_name")


class TestClaim:
    @pytest.mark.parametrize(
        ("run_as", "identity"),
        [
            (None, SYSTEM),
            ([], SYSTEM),
            ({"contactId": None, "domainId": 1}, SYSTEM),
            ({"contactId": "2", "domainId": "1"}, Identity(2, 1)),
            ({"contactId": 2}, Identity(2)),
            ({"contactId": "admin", "domainId": 1}, Identity(-1)),
            ({"contactId": 2, "domainId": "x"}, Identity(-1)),
            ({"contactId": [2]}, Identity(-1)),
        ],
    )
    def test_identities(self, run_as, identity):
        site = Site(Queue_claimItems=[{"id": 7, "queue": "q", "run_as": run_as}])
        assert queues.claim(site, "q") == [Item("7", identity)]

    def test_never_asks_for_the_data(self):
        site = Site(Queue_claimItems=[])
        assert queues.claim(site, "q") == []
        assert site.asked == [("Queue", "claimItems", {"queue": "q", "select": ["id", "queue", "run_as"]})]

    @pytest.mark.parametrize("answer", [["7"], [None], [{}], [{"run_as": None}]])
    def test_an_odd_answer(self, answer):
        with pytest.raises(ProtocolError):
            queues.claim(Site(Queue_claimItems=answer), "q")


def test_run():
    site = Site(Queue_runItems=[{"outcome": "ok", "item": {"id": "1", "queue": "q"}}])
    outcomes = queues.run(site, "q", ["1", "2"])
    assert outcomes == {"1": Outcome.OK, "2": Outcome.UNKNOWN}
    assert outcomes.oddities == ["item 2 is missing from the answer"]
    assert site.asked[0][2] == {"items": [{"id": "1", "queue": "q"}, {"id": "2", "queue": "q"}]}


class TestFeatures:
    def test_of_6_13(self):
        site = Site(Queue_getFields=[{"name": "id"}, {"name": "name"}], QueueItem_get=[])
        assert queues.probe(site) == SiteFeatures(queue_item=True, agent=False)
        assert site.exchanges == 1

    def test_of_5_77(self):
        site = Site(Queue_getFields=[{"name": "id"}], QueueItem_get=NO_QUEUE_ITEM)
        assert queues.probe(site) == SiteFeatures(queue_item=False, agent=False)

    def test_a_lost_database_is_no_missing_feature(self):
        with pytest.raises(CallError, match="DB Error"):
            queues.probe(Site(Queue_getFields=[], QueueItem_get=LOST))
        with pytest.raises(CallError, match="DB Error"):
            queues.probe(Site(Queue_getFields=LOST, QueueItem_get=[]))


class TestActiveQueues:
    def test_settings_with_their_defaults(self):
        site = Site(
            Queue_get=[
                queue("a", type="Sql", batch_limit=2, retry_limit=3, retry_interval=4, error="abort"),
                {"name": "b", "type": None, "batch_limit": None},
            ]
        )
        assert queues.active_queues(site, SiteFeatures(queue_item=True, agent=False)) == {
            "a": QueueInfo("a", "Sql", 2, 3600, 3, 4, "abort"),
            "b": QueueInfo("b"),
        }
        where = site.asked[0][2]["where"]
        assert where == [["runner", "IS NOT EMPTY"], ["status", "=", "active"], ["is_template", "=", False]]

    def test_the_agent_is_asked_for_only_where_there_is_such_a_field(self):
        site = Site(Queue_get=[], Queue_getFields=[{"name": "agent"}], QueueItem_get=[])
        assert queues.active_queues(site) == {}
        assert ["agent", "CONTAINS", "server"] in site.asked[-1][2]["where"]

    @pytest.mark.parametrize("row", [None, {}, {"name": "a", "batch_limit": "many"}])
    def test_an_odd_answer(self, row):
        with pytest.raises(ProtocolError):
            queues.active_queues(Site(Queue_get=[row]), SiteFeatures(queue_item=True, agent=False))


def site_with_rows(first_rows, *infos):
    """A 6.13: `first_rows` is what the look at each queue with rows gives."""

    def items(params):
        if "groupBy" in params:
            return [{"queue_name": name} for name in first_rows]
        if "where" not in params:
            return []
        return first_rows[queue_of(params)]

    return Site(Queue_getFields=[], Queue_get=list(infos), QueueItem_get=items)


class TestLookingAtRows:
    def look(self, site, skip=()):
        return [info.name for info in Looker(site).look(skip).queues]

    def test_active_queues_with_a_free_row(self):
        rows = {"full": [{"id": 1}], "leased": [], "stopped": [{"id": 2}], "busy": [{"id": 3}]}
        site = site_with_rows(rows, queue("full"), queue("leased"), queue("busy"), queue("empty"))
        assert self.look(site, skip={"busy"}) == ["full"]
        assert [
            queue_of(params) for *_, params in site.asked if params.get("limit") and "where" in params
        ] == [
            "full",
            "leased",
        ]

    def test_takes_two_exchanges(self):
        site = site_with_rows({"a": [{"id": 1}]}, queue("a"))
        looker = Looker(site)
        looker.look()
        before = site.exchanges
        queues_found, seconds = looker.look()
        assert site.exchanges == before + 2
        assert [info.name for info in queues_found] == ["a"]
        assert 0 <= seconds < 1

    def test_takes_one_exchange_when_idle(self):
        site = site_with_rows({}, queue("a"))
        looker = Looker(site)
        looker.look()
        before = site.exchanges
        assert looker.look().queues == []
        assert site.exchanges == before + 1

    @pytest.mark.parametrize(
        ("release_time", "ready"),
        [(None, True), ("2026-11-21 18:37:26", True), (NOW, False), ("2026-11-21 19:37:26", False)],
    )
    def test_of_a_linear_queue_the_head_must_be_free(self, release_time, ready):
        head = {"id": 1, "release_time": release_time, "now": NOW}
        site = site_with_rows({"lin": [head]}, queue("lin", type="Sql"))
        assert self.look(site) == (["lin"] if ready else [])
        assert site.asked[-1][2]["orderBy"] == {"weight": "ASC", "id": "ASC"}
        assert site.asked[-1][2]["where"] == [["queue_name", "=", "lin"]]

    def test_a_parallel_queue_is_asked_for_any_free_row(self):
        site = site_with_rows({"par": [{"id": 1}]}, queue("par"))
        self.look(site)
        free = ["OR", [["release_time", "IS NULL"], ["release_time", "<", "now"]]]
        assert site.asked[-1][2] == {
            "select": ["id"],
            "where": [["queue_name", "=", "par"], free],
            "limit": 1,
        }

    def test_one_failing_queue_spoils_no_other(self):
        site = site_with_rows(
            {"bad": CallError("no such type"), "good": [{"id": 1}]}, queue("bad"), queue("good")
        )
        looker = Looker(site)
        assert [info.name for info in looker.look().queues] == ["good"]
        assert looker.failed == {"bad": "no such type"}

    def test_a_lost_database_fails_the_look(self):
        site = site_with_rows({"a": [{"id": 1}]}, queue("a"))
        looker = Looker(site)
        looker.look()
        site.answers["Queue_get"] = LOST
        with pytest.raises(CallError, match="DB Error"):
            looker.look()
        site = site_with_rows({"a": LOST}, queue("a"))
        with pytest.raises(CallError, match="DB Error"):
            Looker(site).look()


class TestAskingQueues:
    """5.77: there is no QueueItem."""

    def site(self, counts, *infos):
        return Site(
            Queue_getFields=[],
            QueueItem_get=NO_QUEUE_ITEM,
            Queue_get=list(infos),
            Queue_run=lambda params: counts[params["queue"]],
        )

    def counts(self, ready, blocked=0):
        return [{"queue_ready": ready, "queue_blocked": blocked, "queue_total": ready + blocked}]

    def test_what_is_ready(self):
        counts = {"full": self.counts(2), "leased": self.counts(0, 2), "mixed": self.counts(1, 1)}
        site = self.site(counts, queue("full"), queue("leased"), queue("mixed"), queue("busy"))
        looker = Looker(site)
        assert not looker.has_queue_item
        assert [info.name for info in looker.look({"busy"}).queues] == ["full", "mixed"]
        assert site.asked[-1] == ("Queue", "run", {"queue": "mixed", "maxRequests": 0})

    def test_one_failing_queue_spoils_no_other(self):
        counts = {"bad": CallError("no such type"), "good": self.counts(1)}
        looker = Looker(self.site(counts, queue("bad"), queue("good")))
        assert [info.name for info in looker.look().queues] == ["good"]
        assert looker.failed == {"bad": "no such type"}

    def test_a_linear_queue_that_something_blocks_is_tried_only_now_and_then(self, monkeypatch):
        clock = [1000.0]
        monkeypatch.setattr("coworker.civi.looking.time.monotonic", lambda: clock[0])
        looker = Looker(self.site({"lin": self.counts(3, 1)}, queue("lin", type="Sql")))
        seen = []
        for _ in range(25):
            seen.append(len(looker.look().queues))
            clock[0] += 1
        assert [second for second, found in enumerate(seen) if found] == [0, 10, 20]

    def test_a_linear_queue_that_nothing_blocks(self):
        looker = Looker(self.site({"lin": self.counts(3)}, queue("lin", type="Sql")))
        assert [len(looker.look().queues) for _ in range(3)] == [1, 1, 1]

    def test_before_5_67_every_active_queue_counts(self):
        site = self.site({"a": NO_QUEUE_RUN, "b": NO_QUEUE_RUN}, queue("a"), queue("b"))
        looker = Looker(site)
        assert [info.name for info in looker.look({"a"}).queues] == ["b"]
        before = len(site.asked)
        assert [info.name for info in looker.look().queues] == ["a", "b"]
        assert len(site.asked) == before + 1


class TestRows:
    def test_for_settling(self):
        found = [
            {"id": 22, "run_count": 1, "release_time": "2026-11-21 19:37:27", "now": NOW},
            {"id": 23, "run_count": "0", "release_time": None, "now": NOW},
        ]
        site = Site(QueueItem_get=found)
        assert queues.rows(site, "q", ["22", "23", "24"]) == (
            [Row("22", 1, "2026-11-21 19:37:27"), Row("23", 0, None)],
            NOW,
        )
        assert site.asked[0][2]["where"] == [["queue_name", "=", "q"], ["id", "IN", ["22", "23", "24"]]]

    def test_none_left(self):
        assert queues.rows(Site(QueueItem_get=[]), "q", ["22"]) == ([], None)

    def test_no_ids_ask_nobody(self):
        assert queues.rows(Site(), "q", []) == ([], None)

    def test_of_a_claim_that_was_not_answered(self):
        site = Site(QueueItem_get=[])
        queues.rows_released_between(site, "q", "2026-11-21 19:37:25", "2026-11-21 19:37:29")
        assert site.asked[0][2]["where"][1] == [
            "release_time",
            "BETWEEN",
            ["2026-11-21 19:37:25", "2026-11-21 19:37:29"],
        ]

    @pytest.mark.parametrize(
        ("release_time", "guard"),
        [(None, ["release_time", "IS NULL"]), (NOW, ["release_time", "=", NOW])],
    )
    @pytest.mark.parametrize(("updated", "expected"), [([{"id": 22}], True), ([], False)])
    def test_a_guarded_update(self, release_time, guard, updated, expected):
        site = Site(QueueItem_update=updated)
        values = {"run_count": 0, "release_time": None}
        assert (
            queues.update_row(
                site, "q", "22", where_run_count=1, where_release_time=release_time, values=values
            )
            is expected
        )
        where = [["id", "=", "22"], ["queue_name", "=", "q"], ["run_count", "=", 1], guard]
        assert site.asked == [("QueueItem", "update", {"where": where, "values": values})]
