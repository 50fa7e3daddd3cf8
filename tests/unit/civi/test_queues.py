import pytest
from support.civi_site import LOST, NO_QUEUE_ITEM, NOW, Site, queue

from coworker.civi import queues
from coworker.civi.queues import Row, SiteFeatures
from coworker.errors import CallError, ProtocolError
from coworker.model import SYSTEM, Identity, Item, Outcome, QueueInfo


class TestClaim:
    @pytest.mark.parametrize(
        ("run_as", "identity"),
        [
            (None, SYSTEM),
            ([], SYSTEM),
            ({"contactId": None, "domainId": 1}, Identity(None, 1)),
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
    @pytest.mark.parametrize(("updated", "expected"), [([{"id": 22}], ["22"]), ([], [])])
    def test_a_guarded_update(self, release_time, guard, updated, expected):
        site = Site(QueueItem_update=updated)
        values = {"run_count": 0, "release_time": None}
        row = queues.Row("22", 1, release_time)
        assert queues.update_rows(site, "q", [row], values) == expected
        where = [["id", "=", "22"], ["queue_name", "=", "q"], ["run_count", "=", 1], guard]
        assert site.asked == [("QueueItem", "update", {"where": where, "values": values})]
