"""The same work over each way to a real PHP site: nothing lost, nothing twice, whatever breaks on the way."""

import pytest
from support.daemon import wait_until
from support.tables import settings
from support.ways import WAYS, reached


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_task_ends_as_it_should(tmp_path, daemon, way):
    with reached(tmp_path, way) as (site, table):
        site.queue("many")
        site.queue("batch", batch_limit=10)
        site.queue("linear", type="Sql")
        site.queue("failing", retry_limit=1)
        quick = site.push("many", "empty", times=40)
        batch = site.push("batch", "nap", 0.01, times=40)
        linear = site.push("linear", "empty", times=10)
        failing = site.push("failing", "fail", times=3)
        running = daemon(settings(table(), count=2), wait=None)
        wait_until(lambda: site.left() == 0, "everything is done")
        running.stop()
        started = site.started()
        assert sorted(started) == sorted([*quick, *batch, *linear, *failing * 2])
        assert site.ended("linear") == linear
        assert {e["outcome"] for e in running.events("task_done", queue="failing")} == {"retry", "delete"}
        assert not [e for e in running.events() if e["level"] in ("error", "critical")]
