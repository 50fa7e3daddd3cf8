# ruff: noqa: F401, F811 (fixtures are imported by name)
"""The client and a real process: handshake, calls, batches."""

import time

import pytest
from support.pipe_helpers import alive, connect, fake, poller, soon, start

from coworker.civi.client import Client, Welcome
from coworker.errors import (
    BootError,
    CallError,
    EmptyAnswerError,
    PipeGoneError,
    PipeTimeoutError,
    ProtocolError,
    RequestTooLongError,
)


@pytest.fixture
def handshake(start):
    def handshake(command, *, minimum_version="5.51", seconds=30.0):
        client = Client(start(command), call_timeout=30.0)
        return client, client.handshake(minimum_version=minimum_version, deadline=soon(seconds))

    return handshake


class TestHandshake:
    def test_welcome(self, handshake):
        client, welcome = handshake(fake())
        assert welcome == client.welcome == Welcome(version="6.13.3", trusted=True, login=True)

    def test_noise_before_the_welcome_is_kept(self, handshake):
        noise = 'Deprecated: x\n{"not":"it"}\n\n'
        client, _ = handshake(fake("--before", noise))
        assert client.take_noise() == noise
        assert client.call("echo", [1]) == [1]

    @pytest.mark.parametrize(
        ("before", "noise"),
        [
            ("Welcome to web1! ", "Welcome to web1! \n"),
            ("\xef\xbb\xbf", "\ufeff\n"),
            ("\x1b[?25h\x07\r", "\x1b[?25h\x07\r\n"),
            ('{"Civi::pipe": soon} \xff', '{"Civi::pipe": soon} \ufffd\n'),
        ],
    )
    def test_a_welcome_is_found_wherever_it_stands_on_its_line(self, handshake, before, noise):
        client, welcome = handshake(fake("--before", before))
        assert welcome.version == "6.13.3"
        assert client.take_noise() == noise
        assert client.call("echo", [1]) == [1]

    @pytest.mark.parametrize(
        ("header", "login"),
        [
            ('{"Civi::pipe":{"v":"5.77.beta1","t":"trusted","l":["nologin"]}}', False),
            ('{"Civi::pipe":{"v":"5.77.beta1","t":"trusted","l":[]}}', False),
            ('{"Civi::pipe":{"v":"5.77.beta1","t":"trusted","x":null,"j":["jsonrpc-2.0"]}}', False),
            ('{"Civi::pipe":{"v":"5.51","t":"trusted","l":["login"]}}', True),
        ],
    )
    def test_forms_of_the_welcome(self, handshake, header, login):
        assert handshake(fake("--header", header))[1].login is login

    @pytest.mark.parametrize(
        ("header", "complaint"),
        [
            ('{"Civi::pipe":null}', "its welcome names no version"),
            ('{"Civi::pipe":[]}', "its welcome names no version"),
            ('{"Civi::pipe":{"t":"trusted"}}', "its welcome names no version"),
            ('{"Civi::pipe":{"v":"6.13.3","u":"untrusted"}}', "the session is not trusted"),
            ('{"Civi::pipe":{"v":"6.13.3"}}', "the session is not trusted"),
            (
                '{"Civi::pipe":{"v":"5.50.4","t":"trusted"}}',
                r"CiviCRM 5\.50\.4 is too old, 5\.51 is needed",
            ),
        ],
    )
    def test_a_welcome_that_will_not_do(self, handshake, header, complaint):
        with pytest.raises(BootError, match=complaint):
            handshake(fake("--header", header))

    def test_the_minimum_version_is_a_setting(self, handshake):
        handshake(fake(), minimum_version="6.13")
        with pytest.raises(BootError, match="too old"):
            handshake(fake(), minimum_version="6.14")

    def test_exit_before_the_welcome(self, handshake):
        command = fake("--before", "Hello there\n", "--exit", "7")
        with pytest.raises(BootError) as caught:
            handshake(command)
        assert str(caught.value) == (
            f"the pipe {command!r} did not become ready: the pipe closed its output (exit status 7); "
            "stderr: no site here; stdout: Hello there"
        )

    def test_a_command_that_is_not_found(self, handshake):
        with pytest.raises(BootError, match=r"exit status 127\); stderr: .*not found"):
            handshake("no-such-command --at-all")

    def test_no_welcome_in_time(self, handshake):
        with pytest.raises(BootError, match="no welcome in time; stdout: please wait"):
            handshake(fake("--before", "please wait", "--hang"), seconds=2)

    def test_garbage_instead_of_a_welcome(self, handshake):
        with pytest.raises(BootError, match=r"something else than a welcome.*; stdout: .*yyy") as caught:
            handshake("yes yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")
        assert len(str(caught.value)) < 1000
        assert "\n" not in str(caught.value)

    def test_options_refused(self, handshake):
        with pytest.raises(BootError, match="did not become ready: no options today"):
            handshake(fake("--refusal", "no options today"))

    def test_permission_checks_that_cannot_be_left_out(self, handshake):
        with pytest.raises(BootError, match="without permission checks"):
            handshake(fake("--drop", "apiCheckPermissions"))

    def test_a_site_that_keeps_its_own_request_size(self, handshake):
        client, _ = handshake(fake("--drop", "bufferSize"))
        with pytest.raises(RequestTooLongError):
            client.call("echo", ["x" * 524_288])

    def test_a_prefix_that_no_task_can_guess(self, connect):
        first, second = connect(), connect()
        prefixes = {client.pipe._framer._prefix for client in (first, second)}
        assert len(prefixes) == 2
        assert all(prefix[0] == 1 and prefix[-1] == 2 and len(prefix) > 20 for prefix in prefixes)


class TestCall:
    def test_results_and_errors(self, connect):
        client = connect()
        assert client.call("echo", {"é": ["☃", None]}) == {"é": ["☃", None]}
        with pytest.raises(CallError, match="Contact ID 9 is invalid") as caught:
            client.call("fail", "Contact ID 9 is invalid")
        assert caught.value.code == -32099
        assert client.call("echo", [1]) == [1]

    def test_an_empty_line_after_the_prefix_is_a_failed_call(self, connect):
        client = connect()
        with pytest.raises(EmptyAnswerError):
            client.call("raw", ["{prefix}\n"])
        assert client.call("echo", [1]) == [1]

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            ('{"jsonrpc":"2.0","result":[],"id":99}', "is to call 99, not to call 2"),
            ('{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":null}}', "has no id"),
            ('{"jsonrpc":"2.0","re<b>Notice</b>sult":[],"id":{id}', "not JSON"),
        ],
    )
    def test_an_answer_to_something_else(self, connect, answer, complaint):
        client = connect()
        with pytest.raises(ProtocolError, match=complaint):
            client.call("raw", ["{prefix}" + answer + "\n"])
        with pytest.raises(ProtocolError, match=complaint):
            client.call("echo", [1])

    def test_two_answers(self, connect):
        client = connect()
        one = '{prefix}{"jsonrpc":"2.0","result":[],"id":{id}}\n'
        assert client.call("raw", [one + one]) == []
        with pytest.raises(ProtocolError):
            client.call("echo", [1])

    def test_time_out(self, connect):
        client = connect(call_timeout=0.05)
        began = time.monotonic()
        with pytest.raises(PipeTimeoutError):
            client.call("hang", [])
        assert 0.05 <= time.monotonic() - began < 1

    def test_a_time_out_of_its_own(self, connect):
        client = connect()
        with pytest.raises(PipeTimeoutError):
            client.call("hang", [], timeout=0.05)

    def test_a_request_that_the_site_would_cut_up_is_not_sent(self, connect):
        client = connect()
        client._buffer_size = 100
        with pytest.raises(RequestTooLongError, match="the site takes 99"):
            client.call("echo", ["x" * 100])
        assert client.call("echo", ["x"]) == ["x"]

    def test_a_task_that_exits(self, connect):
        client = connect()
        with pytest.raises(PipeGoneError, match="exit status 0"):
            client.call("leave", {"stdout": "bye"})
        assert client.take_noise() == "bye"

    def test_end_and_kill(self, connect):
        first, second = connect(), connect()
        assert str(first.end()) == "exit status 0"
        assert "SIGKILL" in str(second.kill())
        assert not alive(first.pipe.pid)
        assert not alive(second.pipe.pid)


class TestBatch:
    def test_results_in_order(self, connect):
        client = connect()
        rows = client.api4_batch([("Queue", "get", {"a": 1}), ("Queue", "get", {})])
        assert rows == [[1], []]  # the fake answers the params, and an object counts as its values
        assert client.call("echo", [1]) == [1]

    def test_an_empty_batch_asks_nobody(self, connect):
        client = connect()
        client.kill()
        assert client.api4_batch([]) == []


@pytest.mark.parametrize("method", ["echo"])
def test_the_client_costs_little(connect, method):
    """A guard against accidents, far above the 45 µs that were measured."""
    client = connect()
    calls = 300
    began = time.process_time()
    for _ in range(calls):
        client.call(method, [{"id": "1", "queue": "q"}])
        client.take_noise()
    assert (time.process_time() - began) / calls < 0.001
