"""What a batch costs, counted in work, not in time: messages to the master and its system calls, calls to the
site.
"""

from collections import Counter
from itertools import pairwise

import pytest
from support.daemon import wait_until
from support.one_worker import PATIENCE, OneWorker
from support.php_site import need
from support.tables import settings, site_table

from coworker.ipc import messages as m
from coworker.model import QueueInfo

MOST_MESSAGES, MOST_CALLS, MOST_SYSTEM_CALLS = 4, 2, 4  # per batch


@pytest.fixture
def master(site, tmp_path):
    master = OneWorker(counting(site, tmp_path), tmp_path)
    yield master
    master.end()


def counting(site, folder):
    """The site's pipe command; what is sent to each pipe is also kept, in a file of its own."""
    return f"tee {folder}/calls.$$ | {site.command().removeprefix('exec ')}"


def calls(folder):
    """[Counter of the actions that were called], one for each pipe."""
    actions = ("claimItems", "runItems")
    requests = [path.read_text() for path in folder.glob("calls.*")]
    return [Counter({action: text.count(f'"{action}"') for action in actions}) for text in requests]


@pytest.mark.parametrize("batch", [1, 20])
def test_a_batch_is_at_most_four_messages_and_two_calls(site, master, tmp_path, batch):
    batches = 50
    site.queue("a", batch_limit=batch)
    site.push("a", "empty", times=batches * batch)
    master.until(m.Ready)
    master.link.send(m.Work(QueueInfo("a"), PATIENCE))
    reports = master.until(m.Idle)
    assert site.left() == 0
    # Once the worker is bound; several batches may leave in one write, and then in fewer words.
    ended = [place for place, report in enumerate(reports) if isinstance(report, (m.Done, m.BatchDone))]
    assert len(ended) == batches
    assert max(end - begin for begin, end in pairwise(ended)) <= MOST_MESSAGES
    (made,) = calls(tmp_path)
    assert made == {"claimItems": batches + 1, "runItems": batches}
    assert made.total() - 1 <= MOST_CALLS * batches  # the one that found the queue empty is no batch's


def test_in_a_running_daemon_two_workers_make_two_calls_a_batch(site, daemon, tmp_path):
    batches, batch = 200, 5
    site.queue("a", batch_limit=batch)
    site.push("a", "empty", times=batches * batch)
    command = counting(site, tmp_path)
    running = daemon(settings(site_table(command), count=2, max_requests=0, boot_budget=2))
    wait_until(lambda: site.left() == 0, "all items gone")
    assert running.stop() == 0
    made = sum(calls(tmp_path), Counter())
    assert made["runItems"] == batches
    # Besides one claim a batch, only those that end an order: at most one for each slice and worker.
    assert made["claimItems"] <= batches + batches // 10


def system_calls(site, daemon, folder, batches):
    """How many the master makes from its start to its stop, and so many batches in between."""
    table = folder / f"strace.{batches}"
    site.queue(f"q{batches}")
    site.push(f"q{batches}", "empty", times=batches)
    traced = ("strace", "-D", "-qq", "-c", "-o", str(table))  # not its children; it keeps its pid
    arguments = ("-d", "log.level=info")
    text = settings(site_table(site, poll_interval=1.0, poll_interval_max=1.0), count=1, max_requests=0)
    running = daemon(text, prefix=traced, arguments=arguments)
    wait_until(lambda: site.left(f"q{batches}") == 0, "all items gone")
    assert running.stop() == 0
    return wait_until(lambda: table.exists() and total(table.read_text()), "the tracer's table")


def total(table):
    """The sum of the column `calls`; None until the table is whole."""
    lines = [line.split() for line in table.splitlines() if line.split()[-1:] == ["total"]]
    return int(lines[0][3]) if lines else None


def test_the_masters_system_calls_for_each_batch(site, daemon, tmp_path):
    need("strace", "-V")
    few, many = (system_calls(site, daemon, tmp_path, batches) for batches in (50, 450))
    assert (many - few) / 400 <= MOST_SYSTEM_CALLS


def test_reports_of_several_short_batches_reach_the_master_in_one_write(site, master):
    site.queue("a")
    site.push("a", "empty", times=100)
    master.until(m.Ready)
    writes = []
    receive = master.link.channel.receive
    master.link.channel.receive = lambda: writes.append(receive()) or writes[-1]
    master.link.send(m.Work(QueueInfo("a"), PATIENCE))
    master.until(m.Idle)
    assert max(data.count(b'["BatchDone"') for data in writes) > 1
