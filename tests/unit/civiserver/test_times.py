"""Times as strtotime reads them and APIv4 shows them."""

import time

import pytest

from coworker.civiserver.times import format_compact, format_time, parse_time


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    """A zone with summer time: it began on 2026-03-29 at 02:00."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


NOW = 1_774_000_000  # 2026-03-20 10:46:40 in Berlin


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("now", "2026-03-20 10:46:40"),
        (" NOW ", "2026-03-20 10:46:40"),
        ("+7200 seconds", "2026-03-20 12:46:40"),
        ("-5 seconds", "2026-03-20 10:46:35"),
        ("now +1 hour", "2026-03-20 11:46:40"),
        ("+1 hour -30 minutes", "2026-03-20 11:16:40"),
        ("90 sec ago", "2026-03-20 10:45:10"),
        ("2026-11-21 18:37:25", "2026-11-21 18:37:25"),
        ("2026-11-21T18:37", "2026-11-21 18:37:00"),
        ("20261121203727", "2026-11-21 20:37:27"),
        ("2026-11-21", "2026-11-21 00:00:00"),
        ("2026-11-21 18:37:25 +5 seconds", "2026-11-21 18:37:30"),
        ("@1774000000", "2026-03-20 10:46:40"),
        ("today", "2026-03-20 00:00:00"),
        ("tomorrow", "2026-03-21 00:00:00"),
        ("yesterday +1 hour", "2026-03-19 01:00:00"),
        ("+10 days", "2026-03-30 10:46:40"),  # the same time of the day, though 239 hours later
        ("+1 week", "2026-03-27 10:46:40"),
        ("+13 months", "2027-04-20 10:46:40"),
        ("-1 year", "2025-03-20 10:46:40"),
    ],
)
def test_what_strtotime_understands(text, shown):
    assert format_time(parse_time(text, NOW)) == shown


@pytest.mark.parametrize(
    "text", ["", "  ", "soon", "+5", "5 apples", "now or never", "2026-11", "+1 hour x", "@"]
)
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text, NOW)


def test_an_impossible_year_is_a_value_error():
    with pytest.raises(ValueError, match="out of range"):
        parse_time("+99999999999 years", NOW)


def test_null_stays_null_and_echoes_are_compact():
    assert format_time(None) is None
    assert format_compact(None) is None
    assert format_compact(NOW) == "20260320104640"


def test_a_time_that_was_shown_reads_back_as_the_same_second():
    assert parse_time(format_time(NOW), 0) == NOW
