"""The Python site answers as CiviCRM did, line by line (transcripts/)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.replay import MismatchError, Player
from support.transcript import FOLDER, Kind, parse

from coworker.civiserver.fields import CONTACT
from coworker.civiserver.service import QueueService
from coworker.queues.task import Task

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

SUCCEED = Task("transcript_tasks:succeed")
THROW = Task("transcript_tasks:throw")
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


AS_CONTACT_2 = Task("transcript_tasks:succeed", run_as={"contactId": 2, "domainId": 1})
ACTIONS: dict[str, Action | None] = {
    "login: one identity for the life of the pipe": None,
    "an untrusted session": None,
    "queue ok1: SqlParallel, batch_limit 2, three tasks": queue("ok1", [SUCCEED] * 3, batch_limit=2),
    "a second runItems for the same claim": None,
    "queue noise: the task prints a line on stdout": queue(
        "noise", [Task("transcript_tasks:print_noise", [0])]
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
    "the task calls exit(3)": queue("fatal", [Task("transcript_tasks:leave", [3])]),
    "the database connections of the pipe are killed": lose_the_database,
}
CLAIM_LOST = (
    '{"jsonrpc":"2.0","method":"api4","params":["Queue","claimItems",'
    '{"queue":"lost","select":["id","queue","run_as"]}],"id":31}'
)


def read(version: str, name: str) -> str:
    return (FOLDER / version / f"{name}.txt").read_text()


def player(folder: Path, version: str) -> Player:
    made = Player(
        folder,
        AS_VERSION[version],
        ACTIONS,
        {CLAIM_LOST: free_items("lost")},
        WORDING,
        set(EXCEPTIONS.values()),
    )
    if version == "civicrm-5.77":
        made.service.site.delete(CONTACT, [2])  # that site had only its own contact
    return made


@pytest.mark.parametrize(("version", "name"), SESSIONS)
def test_every_line_is_as_recorded(version, name, tmp_path):
    steps = parse(read(version, name))
    session = player(tmp_path, version)
    session.play(steps)
    counted = {Kind.RECEIVE, Kind.ROWS, Kind.CLOSE, Kind.END}
    assert session.compared + len(session.excused) == sum(step.kind in counted for step in steps)
    assert session.excused == (list(EXCEPTIONS.values()) if name == "queues" else [])


@pytest.mark.parametrize(
    ("name", "original", "doctored"),
    [
        ("protocol", '"message":"Method not found"', '"message":"Method  not found"'),
        ("protocol", r'"\u00e9 \u2603"', '"é ☃"'),
        ("protocol", '{"contactId":2,"userId":1}', '{"contactId":2,"userId":2}'),
        ("protocol", r"< \x01\x01{", "< {"),
        ("protocol", "closed stdin; exit status 0", "closed stdin; exit status 1"),
        ("queues", "< NOISE 0", "< NOISE 1"),
        ("queues", "6 1 2\n", "6 1 1\n"),
        ("queues", "1 3600 1; 2 3600 1; 3 NULL 0", "1 3600 1; 2 1800 1; 3 NULL 0"),
        ("queues", "1 3600 1; 2 3600 1; 3 NULL 0", "1 3600 1; 2 3600 1"),
        ("queues", '"outcome":"relinquish"', '"outcome":"retry"'),
        ("queues", "# extend a lease", "# extend the lease"),
        ("queues", "end of file, exit status 3", "end of file, exit status 0"),
    ],
)
def test_a_doctored_line_is_noticed(name, original, doctored, tmp_path):
    text = read("civicrm-6.13.3", name)
    assert original in text
    with pytest.raises(MismatchError):
        player(tmp_path, "civicrm-6.13.3").play(parse(text.replace(original, doctored, 1)))


def test_a_session_of_one_version_is_not_that_of_another(tmp_path):
    with pytest.raises(MismatchError):
        player(tmp_path, "civicrm-6.13.3").play(parse(read("civicrm-5.77", "queues")))


def test_a_line_without_a_mark_has_no_meaning():
    with pytest.raises(ValueError, match="line 5 has no meaning"):
        parse("# a\n# b\n# c\n> d\ne\n")
