"""Claims, runs, and the rows of items, asked of a site that is made up."""

import pytest
from support.civi_site import NOW, Site

from coworker.civi import queues
from coworker.civi.queues import Row
from coworker.errors import ProtocolError
from coworker.model import SYSTEM, Identity, Item, Outcome


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
        assert site.asked == [
            ("Queue", "claimItems", {"queue": "q", "select": ["id", "queue", "run_as", "release_time"]})
        ]

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


class TestRows:
    def test_for_settling(self):
        found = [
            {"id": 22, "run_count": 1, "release_time": "2026-11-21 19:37:27", "now": NOW},
            {"id": 23, "run_count": "0", "release_time": None, "now": NOW},
        ]
        site = Site(QueueItem_get=found)
        assert queues.ApiRows(site).rows("q", ["22", "23", "24"]) == (
            [Row("22", 1, "2026-11-21 19:37:27"), Row("23", 0, None)],
            NOW,
        )
        assert site.asked[0][2]["where"] == [["queue_name", "=", "q"], ["id", "IN", ["22", "23", "24"]]]

    def test_none_left(self):
        assert queues.ApiRows(Site(QueueItem_get=[])).rows("q", ["22"]) == ([], None)

    def test_no_ids_ask_nobody(self):
        assert queues.ApiRows(Site()).rows("q", []) == ([], None)

    def test_of_a_claim_that_was_not_answered(self):
        site = Site(QueueItem_get=[])
        queues.ApiRows(site).released_between("q", "2026-11-21 19:37:25", "2026-11-21 19:37:29")
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
        assert queues.ApiRows(site).update("q", [row], values) == expected
        where = [["id", "=", "22"], ["queue_name", "=", "q"], ["run_count", "=", 1], guard]
        assert site.asked == [("QueueItem", "update", {"where": where, "values": values})]
