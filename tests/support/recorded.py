"""The recorded sessions (tests/conformance/transcripts), and what was done to the site meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from coworker.civiserver.service import QueueService
from coworker.queues.task import Task
from support.transcript import FOLDER

SESSIONS = [
    pytest.param(version, name, id=f"{version}-{name}")
    for version in ("civicrm-6.13.3", "civicrm-5.77")
    for name in ("protocol", "queues")
]
AS_VERSION = {"civicrm-6.13.3": "6.13.3", "civicrm-5.77": "5.77.beta1"}

# Lines that are not compared, and why. Nothing else is left out.
EXCEPTIONS = {
    # PHP's first query on a killed connection comes back empty, the next one fails. Here the first fails.
    "killed database connections": '{"jsonrpc":"2.0","result":[],"id":2}',
}
# Not the database server's words, but its mark; what follows is the store's own.
WORDING = [(re.compile(r"DB Error: [^\"]*"), "DB Error: REASON")]

SUCCEED = Task("support.tasks:succeed")
THROW = Task("support.tasks:throw")
Action = Callable[[QueueService], object]


def queue(name: str, tasks: list[Task], **settings) -> Action:
    """What was done before the recording: a queue and its tasks."""

    def create(service: QueueService) -> None:
        service.create_queue(name, **settings)
        service.push_all(name, tasks)

    return create


def free_items(name: str) -> Action:
    """What was done by hand during the recording: release_time set to NULL."""

    def free(service: QueueService) -> None:
        for row in service.items(name):
            service.store.release(name, row["id"], None)

    return free


def lose_the_database(service: QueueService) -> None:
    """Out of reach for the pipe that has it open, as a killed connection is."""
    path = service.store.file.path
    path.rename(path.with_suffix(".gone"))


AS_CONTACT_2 = Task("support.tasks:succeed", run_as={"contactId": 2, "domainId": 1})
ACTIONS: dict[str, Action | None] = {
    "login: one identity for the life of the pipe": None,
    "an untrusted session": None,
    "queue ok1: SqlParallel, batch_limit 2, three tasks": queue("ok1", [SUCCEED] * 3, batch_limit=2),
    "a second runItems for the same claim": None,
    "queue noise: the task prints a line on stdout": queue(
        "noise", [Task("support.tasks:say", ["NOISE 0\n"])]
    ),
    "queue fdel: error=delete, retry_limit 0, the task throws": queue("fdel", [THROW]),
    "queue fretry: error=delete, retry_limit 2, retry_interval 1 s, the task always throws": queue(
        "fretry", [THROW], retry_limit=2, retry_interval=1
    ),
    "queue fabort: error=abort, batch_limit 2, three tasks that throw": queue(
        "fabort", [THROW] * 3, error="abort", batch_limit=2, retry_interval=1
    ),
    "queue lin: type Sql (linear), two tasks: one claim at a time": queue("lin", [SUCCEED] * 2, type="Sql"),
    "queue runas: two tasks with runAs contact 2, one with none; this pipe never logged in; "
    "error=delete": queue("runas", [AS_CONTACT_2, AS_CONTACT_2, SUCCEED], batch_limit=3),
    "queue lost: claimed, never run, lease ended (release_time set to NULL by hand), claimed again: "
    "retry_limit 0": queue("lost", [SUCCEED]),
    "claim and run in one call": queue("rq", [SUCCEED]),
    "Queue.run": queue("rr", [SUCCEED] * 5, batch_limit=2),
    "what is ready, in one query": queue("rst", [SUCCEED] * 4, batch_limit=2),
    "extend a lease": None,
    "give a claim back": None,
    "create, draft, claim from a draft": None,
    "setting queue_paused: the queue still reads active, claims come back empty": queue("paused", [SUCCEED]),
    "the task calls exit(3)": queue("fatal", [Task("support.tasks:exit_with", [3])]),
    "the database connections of the pipe are killed": lose_the_database,
}
CLAIM_LOST = (
    '{"jsonrpc":"2.0","method":"api4","params":["Queue","claimItems",'
    '{"queue":"lost","select":["id","queue","run_as"]}],"id":31}'
)


def read(version: str, name: str) -> str:
    return (FOLDER / version / f"{name}.txt").read_text()
