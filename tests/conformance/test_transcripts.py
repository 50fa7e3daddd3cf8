"""The Python site answers as CiviCRM did, line by line (transcripts/)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import recorded
from support.replay import MismatchError, Player
from support.transcript import Kind, parse

from coworker.civiserver.fields import CONTACT


def player(folder: Path, version: str) -> Player:
    made = Player(
        folder,
        recorded.AS_VERSION[version],
        recorded.ACTIONS,
        {recorded.CLAIM_LOST: recorded.free_items("lost")},
        recorded.WORDING,
        set(recorded.EXCEPTIONS.values()),
    )
    if version == "civicrm-5.77":
        made.service.site.delete(CONTACT, [2])  # that site had only its own contact
    return made


@pytest.mark.parametrize(("version", "name"), recorded.SESSIONS)
def test_every_line_is_as_recorded(version, name, tmp_path):
    steps = parse(recorded.read(version, name))
    session = player(tmp_path, version)
    session.play(steps)
    counted = {Kind.RECEIVE, Kind.ROWS, Kind.CLOSE, Kind.END}
    assert session.compared + len(session.excused) == sum(step.kind in counted for step in steps)
    assert session.excused == (list(recorded.EXCEPTIONS.values()) if name == "queues" else [])


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
    text = recorded.read("civicrm-6.13.3", name)
    assert original in text
    with pytest.raises(MismatchError):
        player(tmp_path, "civicrm-6.13.3").play(parse(text.replace(original, doctored, 1)))


def test_a_session_of_one_version_is_not_that_of_another(tmp_path):
    with pytest.raises(MismatchError):
        player(tmp_path, "civicrm-6.13.3").play(parse(recorded.read("civicrm-5.77", "queues")))


def test_a_line_without_a_mark_has_no_meaning():
    with pytest.raises(ValueError, match="line 5 has no meaning"):
        parse("# a\n# b\n# c\n> d\ne\n")
