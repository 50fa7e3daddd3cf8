import pytest
from support.civi_site import LOST, NO_QUEUE_ITEM, NO_QUEUE_RUN, NOW, Site, queue

from coworker.civi.looking import Looker
from coworker.errors import CallError


def queue_of(params):
    return next(clause[2] for clause in params["where"] if clause[0] == "queue_name")


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

    def test_takes_three_exchanges(self):
        site = site_with_rows({"a": [{"id": 1}]}, queue("a"))
        looker = Looker(site)
        looker.look()
        before = site.exchanges
        queues_found, seconds = looker.look()
        assert site.exchanges == before + 3
        assert [info.name for info in queues_found] == ["a"]
        assert 0 <= seconds < 1

    def test_of_thousands_of_queues_only_those_with_rows_are_asked_for(self):
        site = site_with_rows({"b": [{"id": 1}], "a": [{"id": 2}]}, queue("a"), queue("b"))
        self.look(site)
        (settings,) = (
            params for entity, action, params in site.asked if (entity, action) == ("Queue", "get")
        )
        assert ["name", "IN", ["a", "b"]] in settings["where"]

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
