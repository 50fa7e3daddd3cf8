"""Any text becomes one that can be shown, and at every edge where text from outside comes in or goes out."""

import io
import json

import pytest
import setproctitle
from hypothesis import given
from hypothesis import strategies as st

from coworker.child.child import Title
from coworker.civi.pipe import text_of
from coworker.claims import reading
from coworker.claims.journal import Journal
from coworker.ipc import messages
from coworker.log import SILENCE, Log
from coworker.master.title import MasterTitle
from coworker.master.views import SiteStatus
from coworker.model import MasterPhase, QueueInfo
from coworker.text import MOST, one_line, printable

# Every code point, halves of surrogate pairs as well, and every byte as a pipe may print it.
TEXTS = st.text(st.characters(codec=None)) | st.binary().map(lambda data: text_of(data, 0))
BYTES = bytes(range(256))
NASTY = text_of(BYTES, 0) + "\ud800\u202e\u2066\u2028\u200b\U000e0001" + "".join(map(chr, range(256)))


def is_fit(text):
    """Whether a terminal shows all of this, and takes nothing of it for an order."""
    text.encode()
    return all(c.isprintable() or c in "\n\t\u00a0\u202f" for c in text)


@given(TEXTS, st.integers(8, 50))
def test_any_text_can_be_shown_and_is_bounded(text, most):
    for fit in (printable(text), printable(text, most), one_line(text), one_line(text, most)):
        assert is_fit(fit)
    assert len(printable(text, most)) <= most
    assert len(one_line(text, most)) <= most
    assert not {"\n", "\t"} & set(one_line(text))
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë zahlt 12\u00a0€ 🙂", "Zoë zahlt 12\u00a0€ 🙂"),
        ("one\r\ntwo\n\tthree", "one\ntwo\n\tthree"),
        ("\0 \x1b[31m \x7f \x9b \u202e \udc80", r"\x00 \x1b[31m \x7f \x9b \u202e \udc80"),
    ],
)
def test_only_what_cannot_be_shown_is_escaped(text, shown):
    assert printable(text) == shown


def test_one_line_shows_where_lines_ended():
    assert one_line("one\n  two\tthree\r\nfour") == "one | two three | four"


def test_of_a_long_text_the_beginning_and_the_end_are_kept():
    assert printable("a" * MOST + "\0" + "z" * MOST, 9) == "aaaa…zzzz"
    assert len(printable("\0" * 10 * MOST)) == MOST


# --- the edges ---


@given(TEXTS)
def test_a_title_takes_any_text(text):
    before = setproctitle.getproctitle()
    try:
        title = Title("worker 1")
        title.say(text)
        title.show(None, text, 0)
        status = SiteStatus(text, MasterPhase.RUNNING, 1.0, text, None, ())
        held = SiteStatus(text, MasterPhase.RUNNING, None, "", 1.0, (text,))
        MasterTitle(text).show([status, held])
    finally:
        setproctitle.setproctitle(before)


@pytest.mark.parametrize("form", ["text", "json"])
@given(text=TEXTS)
def test_a_line_of_the_log_takes_any_text(form, text):
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        Log(form=form).events.bind(site=text).event("info", "said", text=text, told=[{text: text}, 1, None])
    stream.flush()
    line, end, rest = stream.buffer.getvalue().decode().partition("\n")
    assert (end, rest) == ("\n", "")
    if form == "json":
        assert json.loads(line)["text"] == printable(text)
        assert json.loads(line)["told"] == [{printable(text): printable(text)}, 1, None]
    else:
        assert is_fit(line)


def test_what_a_line_of_the_log_says_is_bounded(tmp_path):
    for form in ("text", "json"):
        Log(form=form, file=str(tmp_path / form)).events.event("info", "said", text="x" * 50 * MOST)
        assert (tmp_path / form).stat().st_size < 2 * MOST


def test_what_no_line_can_say_is_counted_and_stops_nobody(tmp_path):
    class Odd:
        def __str__(self):
            raise RuntimeError

    log = Log(form="json", file=str(tmp_path / "log")).events
    log.event("info", "said", odd=Odd())
    log.event("info", "later")
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["log_lines_lost", "later"]


@given(TEXTS)
def test_a_message_brings_any_text_as_it_was(text):
    sent = messages.ClaimFailed(text, text)
    assert messages.decode(messages.encode(sent).rstrip(b"\n")) == sent


@pytest.mark.parametrize("text", [NASTY, "\0", "\udcff", "x" * MOST])
def test_a_journal_names_any_queue_as_it_is(tmp_path, text):
    path = tmp_path / "1-1.claims"
    Journal(path, text, 1).claiming(QueueInfo(text), 1.0)
    (sent,) = reading.read_child(path, SILENCE)
    assert sent.queue.name == text
