# ruff: noqa: F401, F811 (fixtures are imported by name)
"""Bytes in and out of a real process, and its end. Requests are JSON only because the fake reads it."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.pipe_helpers import PREFIX, alive, fake, poller, soon, start, wait_until

from coworker.civi.pipe import Pipe, PipeEndedError
from coworker.errors import BootError, PipeGoneError, PipeTimeoutError, ProtocolError


@pytest.fixture
def pipe(start):
    """A fake server that has said its welcome and prefixes its answers."""
    pipe = start("exec " + fake())
    pipe.read_line(soon())
    pipe.set_prefix(PREFIX.encode())
    exchange(pipe, "options", {"responsePrefix": PREFIX})
    return pipe


def request(method, params, ident=1):
    return json.dumps({"method": method, "params": params, "id": ident}).encode()


def exchange(pipe, method, params, seconds=30.0):
    return pipe.exchange(request(method, params), soon(seconds))


def result(pipe, method, params):
    return json.loads(exchange(pipe, method, params))["result"]


class TestNoise:
    def test_before_the_answer_is_kept_apart(self, pipe):
        assert exchange(pipe, "raw", ["NOISE\n", "more\n", "{prefix}answer\n"]) == b"answer"
        assert pipe.take_noise() == "NOISE\nmore\n"
        assert pipe.take_noise() == ""

    def test_without_newline_directly_before_the_prefix(self, pipe):
        assert exchange(pipe, "raw", ["Notice: x", "{prefix}answer\n"]) == b"answer"
        assert pipe.take_noise() == "Notice: x"

    def test_that_looks_like_an_answer_is_none(self, pipe):
        forged = '{"jsonrpc":"2.0","result":[],"id":{id}}\n'
        assert exchange(pipe, "raw", [forged, "{prefix}answer\n"]) == b"answer"
        assert '"result":[]' in pipe.take_noise()

    def test_inside_the_answer_stays_in_it(self, pipe):
        assert exchange(pipe, "raw", ['{prefix}{"a', "NOISE", '":1}\n']) == b'{"aNOISE":1}'

    def test_after_the_answer_is_noise_of_the_next(self, pipe):
        assert exchange(pipe, "raw", ["{prefix}one\nafter\n"]) == b"one"
        assert exchange(pipe, "raw", ["{prefix}two\n"]) == b"two"
        assert pipe.take_noise() == "after\n"

    def test_half_lines_and_a_prefix_cut_across_reads(self, pipe):
        pieces = ["noi", 0.01, "se" + PREFIX[:3], 0.01, PREFIX[3:] + "ans", 0.01, "wer\n"]
        assert exchange(pipe, "raw", pieces) == b"answer"
        assert pipe.take_noise() == "noise"

    def test_bytes_that_are_no_utf8_are_shown_replaced(self, pipe):
        exchange(pipe, "raw", ["\xff\n{prefix}answer\n"])
        assert pipe.take_noise() == "\ufffd\n"

    def test_only_its_end_is_kept(self, pipe):
        exchange(pipe, "raw", ["x" * 100_000 + "the end", "{prefix}answer\n"])
        noise = pipe.take_noise()
        assert noise.startswith("[91815 bytes dropped]\n")
        assert noise.endswith("the end")
        assert len(noise) < 8300


class TestSize:
    def test_an_answer_of_10_mb(self, pipe):
        assert len(result(pipe, "big", {"bytes": 10_000_000})) == 10_000_000

    def test_a_request_of_10_mb(self, pipe):
        assert result(pipe, "echo", ["x" * 10_000_000]) == ["x" * 10_000_000]

    def test_a_request_of_10_mb_to_a_pipe_that_prints_10_mb_before_it_reads(self, pipe):
        assert result(pipe, "flood", {"bytes": 10_000_000}) is True
        assert len(result(pipe, "echo", ["x" * 10_000_000])[0]) == 10_000_000
        assert "bytes dropped" in pipe.take_noise()

    def test_megabytes_on_stderr_block_nobody(self, pipe):
        assert result(pipe, "chatter", {"bytes": 5_000_000}) is True
        wait_until(lambda: not pipe._poller.wait(0.05) and pipe.stderr_tail.endswith("the end"))
        assert len(pipe.stderr_tail) == 8192


class TestOutOfStep:
    def test_an_answer_nobody_asked_for_is_found_before_the_next_request_is_sent(self, pipe, poller):
        exchange(pipe, "raw", ["{prefix}one\n", "{prefix}two\n"])
        wait_until(lambda: pipe._answers or not poller.wait(0.05))
        with pytest.raises(ProtocolError, match="nobody asked for"):
            exchange(pipe, "echo", [])
        assert pipe.take_noise() == "two\n"

    def test_after_a_time_out_the_pipe_is_used_up(self, pipe):
        with pytest.raises(PipeTimeoutError):
            exchange(pipe, "raw", [0.2, "{prefix}late\n"], seconds=0.05)
        with pytest.raises(ProtocolError, match="has not answered an earlier request"):
            exchange(pipe, "echo", [])

    def test_another_callback_breaks_out_of_a_call(self, pipe, poller):
        class RetireNow(Exception):  # noqa: N818
            pass

        def retire():
            raise RetireNow

        reader, writer = os.pipe()
        poller.register(reader, retire)
        threading.Timer(0.05, os.write, (writer, b"x")).start()
        with pytest.raises(RetireNow):
            exchange(pipe, "hang", [])
        poller.unregister(reader)
        with pytest.raises(ProtocolError):
            exchange(pipe, "echo", [])

    def test_an_answer_that_is_too_long(self, pipe):
        pipe._framer._max_answer = 1000
        with pytest.raises(ProtocolError, match="longer than 1000"):
            exchange(pipe, "big", {"bytes": 2000})
        with pytest.raises(ProtocolError):
            exchange(pipe, "echo", [])


class TestGone:
    def test_exit_during_a_call(self, pipe):
        with pytest.raises(PipeEndedError, match=r"exit status 3") as caught:
            exchange(pipe, "leave", {"code": 3, "stdout": "last words", "stderr": "PHP Fatal error"})
        assert isinstance(caught.value, PipeGoneError)
        assert caught.value.exit_status.code == 3
        assert pipe.stderr_tail == "PHP Fatal error"
        assert pipe.request_sent
        assert pipe.take_noise() == "last words"
        assert pipe.gone

    def test_killed_by_a_signal(self, pipe):
        os.kill(pipe.pid, signal.SIGKILL)
        with pytest.raises(PipeEndedError, match="SIGKILL"):
            exchange(pipe, "hang", [])

    def test_exit_between_calls_is_noticed_before_anything_is_sent(self, pipe, poller):
        os.kill(pipe.pid, signal.SIGKILL)
        wait_until(lambda: poller.wait(0.1) and pipe.gone)
        with pytest.raises(PipeEndedError):
            exchange(pipe, "echo", [])
        assert not pipe.request_sent

    def test_an_answer_just_before_the_exit_counts(self, pipe):
        assert exchange(pipe, "leave", {"stdout": PREFIX + "answer\n"}) == b"answer"
        with pytest.raises(PipeEndedError, match="exit status 0"):
            exchange(pipe, "echo", [])

    def test_a_child_of_the_task_holds_stdout_open(self, pipe):
        began = time.monotonic()
        with pytest.raises(PipeEndedError, match="exit status 3"):
            exchange(pipe, "leave", {"code": 3, "child": True, "stdout": "half {prefix"}, seconds=30)
        assert time.monotonic() - began < 15
        assert pipe.take_noise() == "half {prefix"

    def test_exchange_after_the_end_touches_no_descriptor(self, pipe):
        pipe.end()
        with pytest.raises(PipeEndedError):
            exchange(pipe, "echo", [])


class TestEnd:
    def test_an_idle_pipe_exits_at_the_end_of_stdin(self, pipe):
        assert str(pipe.end(patience=(60.0, 0.0))) == "exit status 0"
        assert pipe.group_gone
        assert str(pipe.end()) == "exit status 0"
        assert str(pipe.exit_status) == "exit status 0"

    def test_a_task_may_finish_and_print_much(self, start):
        pipe = start("exec " + fake())
        pipe.read_line(soon())
        pipe._send(request("flood", {"bytes": 3_000_000}) + b"\n", soon())
        assert str(pipe.end(patience=(60.0, 0.0))) == "exit status 0"
        assert "noise\n" in pipe.take_noise()

    def test_a_hanging_pipe_gets_term(self, pipe):
        with pytest.raises(PipeTimeoutError):
            exchange(pipe, "hang", [], seconds=0.05)
        assert pipe.end(patience=(0.05, 5.0)).signal == signal.SIGTERM

    def test_a_pipe_in_sh_that_ignores_end_of_file_and_term_is_killed(self, start):
        pipe = start(f"sh -c '{fake('--stubborn')}; true'; true")
        pipe.read_line(soon())
        pids = members(pipe.group)
        assert len(pids) >= 3
        pipe.end(patience=(0.1, 0.1))
        assert pipe.group_gone
        assert not [pid for pid in pids if alive(pid)]

    def test_children_that_outlive_the_leader_are_ended_too(self, start):
        pipe = start("trap '' TERM; (while :; do sleep 1000; done) & exit 0")
        wait_until(lambda: not alive(pipe.pid))
        pids = members(pipe.group)
        pipe.end(patience=(0.05, 0.05))
        assert pipe.group_gone
        assert not [pid for pid in pids if alive(pid)]

    def test_kill_uses_no_ladder(self, start):
        pipe = start("trap '' TERM; sleep 1000; true")
        began = time.monotonic()
        assert pipe.kill().signal == signal.SIGKILL
        assert time.monotonic() - began < 1
        assert pipe.group_gone

    def test_other_callbacks_of_the_poller_are_not_run_meanwhile(self, pipe, poller):
        reader, writer = os.pipe()
        os.write(writer, b"x")
        poller.register(reader, lambda: pytest.fail("called"))
        pipe.end()
        poller.unregister(reader)


class TestStart:
    def test_a_directory_that_is_not_there(self, poller):
        with pytest.raises(BootError, match=r"cannot start 'true' in /no/such"):
            Pipe("true", cwd=Path("/no/such"), env={}, poller=poller)

    def test_a_command_that_is_not_there(self, start):
        pipe = start("no-such-command")
        with pytest.raises(PipeEndedError, match="exit status 127"):
            pipe.read_line(soon())
        assert "not found" in pipe.stderr_tail

    def test_signals_are_at_their_defaults_and_none_is_blocked(self, start):
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
        try:
            pipe = start("exec sh -c 'grep ^Sig /proc/self/status'")
            assert all(signal.getsignal(number) is signal.SIG_IGN for number in numbers)
            assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for number, handler in before.items():
                signal.signal(number, handler)
        lines = dict(pipe.read_line(soon()).split(b":\t") for _ in range(5))
        assert int(lines[b"SigIgn"], 16) == 0
        assert int(lines[b"SigBlk"], 16) == 0

    def test_it_has_its_own_session_our_python_on_its_path_and_no_descriptor_of_ours(self, start):
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        pipe = start("exec " + fake())
        pipe.read_line(soon())
        there = json.loads(pipe.exchange(request("surroundings", {}), soon()))["result"]
        assert there["session"] == pipe.group == pipe.pid != os.getsid(0)
        assert str(Path(sys.executable).parent) in there["path"].split(":")
        assert sorted(map(int, there["fds"]))[:3] == [0, 1, 2]
        assert len(there["fds"]) == 4  # the fourth is the listing's own
        os.close(reader)
        os.close(writer)

    def test_it_works_in_another_thread(self, start):
        lines = []
        thread = threading.Thread(target=lambda: lines.append(start("echo hello").read_line(soon())))
        thread.start()
        thread.join()
        assert lines == [b"hello"]


def members(group):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            found.append(int(stat.parent.name))
    return found
