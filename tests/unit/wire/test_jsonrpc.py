import json

import pytest

from coworker.errors import CallError, EmptyAnswerError, ProtocolError
from coworker.wire import jsonrpc


def test_a_request_is_one_line_of_ascii():
    line = jsonrpc.request("echo", ["é\n☃"], 7)
    assert line == b'{"jsonrpc":"2.0","method":"echo","params":["\\u00e9\\n\\u2603"],"id":7}'


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError):
        jsonrpc.request("echo", [float("nan")], 1)


def test_a_batch_is_one_line():
    line = jsonrpc.batch([("echo", [1], 7), ("echo", [2], 8)])
    assert b"\n" not in line
    assert [call["id"] for call in json.loads(line)] == [7, 8]


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError):
        jsonrpc.batch([])


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b'{"jsonrpc":"2.0","result":{"a":1},"id":4}', {"a": 1}),
        (b'{"jsonrpc":"2.0","result":null,"id":4}', None),
        (b'{"jsonrpc":"2.0","result":[],"error":null,"id":4}', []),
        (b' {"id":4,"result":"\\u00e9"}\r', "é"),
    ],
)
def test_the_result_of_an_answer(line, result):
    assert jsonrpc.parse_answer(line, 4) == result


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (b'{"code":-32601,"message":"Method not found","data":null}', "Method not found", -32601),
        (b'{"message":"odd","code":"x"}', "odd", 0),
        (b'"just text"', "just text", 0),
    ],
)
def test_an_error_in_an_answer(error, message, code):
    with pytest.raises(CallError) as caught:
        jsonrpc.parse_answer(b'{"jsonrpc":"2.0","error":' + error + b',"id":4}', 4)
    assert (str(caught.value), caught.value.code) == (message, code)


@pytest.mark.parametrize("line", [b"", b"\r", b"  "])
def test_an_empty_line_is_a_failed_call(line):
    with pytest.raises(EmptyAnswerError):
        jsonrpc.parse_answer(line, 4)
    with pytest.raises(EmptyAnswerError):
        jsonrpc.parse_batch(line, [4])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"Notice: undefined index", "not JSON"),
        (b'{"result":1,"id":4}{"result":1,"id":5}', "not JSON"),
        (b'{"result":"\xff","id":4}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "not an object"),
        (b'[{"result":1,"id":4}]', "not an object"),
        (b'{"result":1,"id":5}', "is to call 5, not to call 4"),
        (b'{"result":1,"id":"4"}', "is to call '4', not to call 4"),
        (b'{"result":1,"id":4.0}', "is to call 4.0"),
        (b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":null}}', "has no id"),
        (b'{"id":4}', "neither result nor error"),
    ],
)
def test_what_is_no_answer_to_the_call(line, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        jsonrpc.parse_answer(line, 4)


def test_true_is_not_the_id_1():
    with pytest.raises(ProtocolError):
        jsonrpc.parse_answer(b'{"result":1,"id":true}', 1)


def test_a_batch_gives_results_and_errors_in_the_order_of_the_ids():
    line = b'[{"id":8,"error":{"code":-32099,"message":"no"}},{"id":7,"result":[1]}]'
    first, second = jsonrpc.parse_batch(line, [7, 8])
    assert first == [1]
    assert isinstance(second, CallError)
    assert str(second) == "no"


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":7,"result":1}',
        b'{"error":{"code":-32600,"message":"Invalid Request","data":null}}',
        b"[1,2]",
        b'[{"id":7,"result":1}]',
        b'[{"id":7,"result":1},{"id":9,"result":1}]',
        b'[{"id":7,"result":1},{"id":8,"result":1},{"id":8,"result":1}]',
        b'[{"id":7,"result":1},{"id":8}]',
        b'[{"id":7,"result":1},{"id":[],"result":1}]',
    ],
)
def test_what_is_no_answer_to_the_batch(line):
    with pytest.raises(ProtocolError):
        jsonrpc.parse_batch(line, [7, 8])


WELCOME = b'{"Civi::pipe":{"v":"6.13.3"}}'
SAYS = {"v": "6.13.3"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (WELCOME, (SAYS, b"")),
        (b" " + WELCOME + b"\r", (SAYS, b" \r")),
        (b"\xef\xbb\xbf\xff\0" + WELCOME + b"\x1b[0m", (SAYS, b"\xef\xbb\xbf\xff\0\x1b[0m")),
        (b'{"Civi::pipe": soon ' + WELCOME, (SAYS, b'{"Civi::pipe": soon ')),
        (b'{ "Civi::pipe" : null }', (None, b"")),
        (WELCOME[:-1], None),
        (b'{"not":"it"}', None),
        (b'["Civi::pipe"]', None),
        (b'{"Civi::pipe":' * 50_000, None),
        (b"", None),
    ],
    ids=range(10),
)
def test_a_welcome_is_found_in_whatever_stands_around_it(line, found):
    assert jsonrpc.find_welcome(line) == found
