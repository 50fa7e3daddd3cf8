import os
import time

import pytest

from coworker.unix.poller import Poller


@pytest.fixture
def poller():
    return Poller()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


def test_a_readable_descriptor_is_called_back(poller, pipe):
    reader, writer = pipe
    got = []
    poller.register(reader, lambda: got.append(os.read(reader, 10)))
    assert not poller.wait(0)
    os.write(writer, b"x")
    assert poller.wait(None)
    assert got == [b"x"]


def test_a_hang_up_is_called_back(poller, pipe):
    reader, writer = pipe
    got = []
    poller.register(reader, lambda: got.append(os.read(reader, 10)))
    os.close(writer)
    assert poller.wait(None)
    assert got == [b""]


def test_one_descriptor_can_be_read_and_written(poller, pipe):
    _, writer = pipe
    got = []
    poller.register(writer, lambda: got.append("broken"))
    poller.register_writer(writer, lambda: got.append("writable"))
    assert poller.wait(0)
    assert got == ["writable"]
    poller.unregister_writer(writer)
    assert not poller.wait(0)
    os.close(pipe[0])
    assert poller.wait(0)
    assert got == ["writable", "broken"]


def test_a_reader_that_is_gone_wakes_the_writer(poller, pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 65_536)
    got = []
    poller.register_writer(writer, lambda: got.append(1))
    assert not poller.wait(0)
    os.close(reader)
    assert poller.wait(None)
    assert got == [1]


def test_nobody_is_called_after_unregister(poller, pipe):
    reader, writer = pipe
    poller.register(reader, lambda: pytest.fail("called"))
    poller.unregister(reader)
    poller.unregister(reader)
    os.write(writer, b"x")
    assert not poller.wait(0)


def test_a_callback_may_unregister_another_of_the_same_round(poller, pipe):
    other, other_writer = os.pipe()
    called = []

    def only_one(fd):
        called.append(fd)
        poller.unregister(pipe[0])
        poller.unregister(other)

    for reader, writer in (pipe, (other, other_writer)):
        os.write(writer, b"x")
        poller.register(reader, lambda fd=reader: only_one(fd))
    poller.wait(0)
    assert len(called) == 1
    os.close(other)
    os.close(other_writer)


def test_an_exception_passes_through_and_loses_nothing(poller, pipe):
    reader, writer = pipe
    os.write(writer, b"x")
    poller.register(reader, lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            poller.wait(0)


@pytest.mark.parametrize("seconds", [0.0004, 0.0101])
def test_waiting_is_never_shortened_by_rounding(poller, seconds):
    for _ in range(5):
        began = time.monotonic()
        assert not poller.wait(seconds)
        assert time.monotonic() - began >= seconds


@pytest.mark.parametrize("seconds", [0, -1, -0.5])
def test_no_waiting_in_the_past(poller, seconds):
    began = time.monotonic()
    assert not poller.wait(seconds)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("seconds", [1e9, float("inf")])
def test_very_long_waits_are_possible(poller, pipe, seconds):
    reader, writer = pipe
    os.write(writer, b"x")
    poller.register(reader, lambda: None)
    assert poller.wait(seconds)
