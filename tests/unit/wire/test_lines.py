from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coworker.errors import ProtocolError
from coworker.wire.lines import AnswerFramer, LineSplitter, Tail

PREFIX = b"\x01ab\x01ac\x02"


def feed_all(framer, pieces):
    answers = []
    for piece in pieces:
        answers += framer.feed(piece)
    return answers


def cut(data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in pairwise(edges)]


# Pieces that make trouble: parts of the prefix, newlines, answers.
streams = st.lists(
    st.sampled_from([b"\n", b"x", PREFIX, PREFIX[:3], PREFIX[:5], b"\x01", b'{"id":1}\n', PREFIX + b"\n"])
).map(b"".join)


@given(streams, st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_any_cut_of_a_stream_gives_the_same_answers_and_the_same_noise(data, places):
    whole, pieces = AnswerFramer(PREFIX), AnswerFramer(PREFIX)
    assert feed_all(pieces, cut(data, places)) == whole.feed(data)
    whole.end_of_file()
    pieces.end_of_file()
    assert pieces.take_noise() == whole.take_noise()


@given(streams, st.lists(st.integers(min_value=0, max_value=10_000), max_size=30))
def test_any_cut_of_a_stream_gives_the_same_lines(data, places):
    splitter = LineSplitter(1000)
    assert feed_all(splitter, cut(data, places)) == data.split(b"\n")[:-1]


@given(st.lists(st.tuples(streams, st.booleans())))
def test_every_byte_is_an_answer_or_noise(blocks):
    data = b"".join(block for block, _ in blocks)
    framer = AnswerFramer(PREFIX, noise_limit=10**9)
    answers = framer.feed(data)
    framer.end_of_file()
    noise, dropped = framer.take_noise()
    inside = len(data) - len(noise) - sum(len(answer) + len(PREFIX) + 1 for answer in answers)
    assert dropped == 0
    assert inside in (0, len(PREFIX))  # an answer begun loses its prefix


@pytest.mark.parametrize(
    ("data", "answers", "noise"),
    [
        (PREFIX + b"A\n", [b"A"], b""),
        (b"noise\n" + PREFIX + b"A\n", [b"A"], b"noise\n"),
        (b"no newline" + PREFIX + b"A\n", [b"A"], b"no newline"),
        (PREFIX + b"A\nafter\n", [b"A"], b"after\n"),
        (PREFIX + b"A\n" + PREFIX + b"B\n", [b"A", b"B"], b""),
        (PREFIX + b"\n", [b""], b""),
        (b'{"result":1,"id":1}\n', [], b'{"result":1,"id":1}\n'),
        (PREFIX[:3] + PREFIX + b"A\n", [b"A"], PREFIX[:3]),
        (PREFIX + b"A" + PREFIX + b"B\n", [b"A" + PREFIX + b"B"], b""),
    ],
)
def test_answers_and_noise(data, answers, noise):
    framer = AnswerFramer(PREFIX)
    assert framer.feed(data) == answers
    assert framer.take_noise() == (noise, 0)


def test_half_a_prefix_is_not_noise_yet():
    framer = AnswerFramer(PREFIX)
    framer.feed(b"noise" + PREFIX[:4])
    assert framer.take_noise() == (b"noise", 0)
    assert framer.feed(PREFIX[4:] + b"A\n") == [b"A"]


def test_an_answer_that_was_begun_is_noise_at_the_end():
    framer = AnswerFramer(PREFIX)
    framer.feed(PREFIX + b'{"half')
    framer.end_of_file()
    assert framer.take_noise() == (b'{"half', 0)


def test_without_a_prefix_every_line_is_an_answer():
    framer = AnswerFramer()
    assert framer.feed(b"one\n\ntw") == [b"one", b""]
    framer.set_prefix(PREFIX)
    assert framer.feed(b"o\n" + PREFIX + b"A\n") == [b"A"]
    assert framer.take_noise() == (b"two\n", 0)


def test_only_the_last_noise_is_kept_and_the_rest_counted():
    framer = AnswerFramer(PREFIX, noise_limit=10)
    framer.feed(b"0123456789" * 5)
    framer.feed(b"abc")
    assert framer.take_noise() == (b"3456789abc", 43)
    assert framer.take_noise() == (b"", 0)


def test_an_answer_above_the_limit_is_refused_and_what_follows_is_framed_again():
    framer = AnswerFramer(PREFIX, max_answer=10)
    framer.feed(PREFIX + b"0123456789")
    with pytest.raises(ProtocolError):
        framer.feed(b"0")
    assert framer.feed(b"rest\n" + PREFIX + b"A\n") == [b"A"]


def test_memory_for_noise_is_bounded():
    tail = Tail(100)
    for _ in range(1000):
        tail.add(b"x" * 37)
        assert len(tail._bytes) <= 200
    assert tail.peek() == (b"x" * 100, 36_900)


@pytest.mark.parametrize("before", [b"", b"noise"])
def test_a_long_answer_costs_linear_time(before):
    class Counting(bytes):
        searched = 0

        def find(self, *arguments):
            Counting.searched += len(self) - (arguments[1] if len(arguments) > 1 else 0)
            return super().find(*arguments)

    framer = AnswerFramer(PREFIX)
    framer.feed(Counting(before + PREFIX))
    for _ in range(160):
        assert framer.feed(Counting(b"x" * 65_536)) == []
    assert framer.feed(Counting(b"\n")) == [b"x" * 65_536 * 160]
    assert Counting.searched < 65_536 * 161


@pytest.mark.parametrize("pieces", [[b"01234567890\n"], [b"0123456789", b"0"], [b"0123456789", b"0\n"]])
def test_a_line_above_the_limit_is_refused(pieces):
    with pytest.raises(ProtocolError):
        feed_all(LineSplitter(10), pieces)


def test_a_line_of_just_the_limit_is_taken():
    assert LineSplitter(10).feed(b"0123456789\n") == [b"0123456789"]
