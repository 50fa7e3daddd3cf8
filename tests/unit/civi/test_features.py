"""What a site can do and which queues it has, asked of a site that is made up."""

import pytest
from support.civi_site import LOST, NO_QUEUE_ITEM, Site, queue

from coworker.civi.features import SiteFeatures, active_queues, probe
from coworker.errors import CallError, ProtocolError
from coworker.model import QueueInfo


class TestFeatures:
    def test_of_6_13(self):
        site = Site(Queue_getFields=[{"name": "id"}, {"name": "name"}], QueueItem_get=[], UserJob_get=[])
        assert probe(site) == SiteFeatures(queue_item=True, agent=False, user_jobs=True)
        assert site.exchanges == 1

    def test_of_5_77(self):
        site = Site(Queue_getFields=[{"name": "id"}], QueueItem_get=NO_QUEUE_ITEM)
        assert probe(site) == SiteFeatures(queue_item=False, agent=False, user_jobs=False)

    def test_a_lost_database_is_no_missing_feature(self):
        with pytest.raises(CallError, match="DB Error"):
            probe(Site(Queue_getFields=[], QueueItem_get=LOST))
        with pytest.raises(CallError, match="DB Error"):
            probe(Site(Queue_getFields=LOST, QueueItem_get=[]))


class TestActiveQueues:
    def test_settings_with_their_defaults(self):
        site = Site(
            Queue_get=[
                queue("a", type="Sql", batch_limit=2, retry_limit=3, retry_interval=4, error="abort"),
                {"name": "b", "type": None, "batch_limit": None},
            ]
        )
        assert active_queues(site, SiteFeatures(queue_item=True, agent=False)) == {
            "a": QueueInfo("a", "Sql", 2, 3600, 3, 4, "abort"),
            "b": QueueInfo("b"),
        }
        where = site.asked[0][2]["where"]
        assert where == [["runner", "IS NOT EMPTY"], ["status", "=", "active"], ["is_template", "=", False]]

    def test_the_agent_is_asked_for_only_where_there_is_such_a_field(self):
        site = Site(Queue_get=[], Queue_getFields=[{"name": "agent"}], QueueItem_get=[])
        assert active_queues(site) == {}
        assert ["agent", "CONTAINS", "server"] in site.asked[-1][2]["where"]

    @pytest.mark.parametrize("row", [None, {}, {"name": "a", "batch_limit": "many"}])
    def test_an_odd_answer(self, row):
        with pytest.raises(ProtocolError):
            active_queues(Site(Queue_get=[row]), SiteFeatures(queue_item=True, agent=False))
