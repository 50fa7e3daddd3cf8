"""What the tests of the queue rules share."""

import pytest

from coworker.civiserver.release import Release
from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.model import SYSTEM
from support import tasks


@pytest.fixture
def make_service():
    """A function that makes a service of some release, with one site for all of them."""
    site = open_site("memory:")
    tasks.seen.clear()
    yield lambda version="6.13.3", **more: QueueService(site, Release(version), **more)
    site.close()


def rows(service, queue="q"):
    now = service.store.now()
    text = "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY id"
    found = service.store.file.rows(text, [queue])
    return [(item_id, release and release - now, count) for item_id, release, count in found]


def run(service, queue="q", identity=SYSTEM):
    """Claim a batch and run it: the outcomes."""
    claimed = service.claim(queue)
    return [outcome for _, outcome in service.run_claimed(queue, [item.id for item in claimed], identity)]


def let_go(service, queue="q"):
    """As if every lease had ended."""
    service.store.file.change(
        "UPDATE civicrm_queue_item SET release_time = NULL WHERE queue_name = ?", [queue]
    )
