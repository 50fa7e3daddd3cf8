"""JSON as PHP writes and reads it."""

import pytest

from coworker.civiserver import phpjson


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é ☃ 😀", r'"\u00e9 \u2603 \ud83d\ude00"'),
        ("a/b", r'"a\/b"'),
        ({"b": 1, "a": [True, None, 1.5]}, '{"b":1,"a":[true,null,1.5]}'),
        ('tab\tquote"back\\', r'"tab\tquote\"back\\"'),
        ("\x01", r'"\u0001"'),
        (r"\ud800 spelt out", r'"\\ud800 spelt out"'),
    ],
)
def test_encoding(value, text):
    assert phpjson.encode(value) == text


@pytest.mark.parametrize(
    "value", ["\ud800", ["a", {"b": "\udfff"}], float("nan"), float("inf"), {1, 2}, b"x"]
)
def test_what_cannot_be_encoded_is_none(value):
    assert phpjson.encode(value) is None


@pytest.mark.parametrize(
    "line",
    [b"{bad", b'"\xff"', b'"\\ud800"', b"NaN", b"[Infinity]", b"", b'"\t"', b"1 2", b"[" * 100_000],
)
def test_what_json_decode_refuses(line):
    with pytest.raises(ValueError):
        phpjson.decode(line)


def test_decoding():
    assert phpjson.decode(b' {"a":"\\ud83d\\ude00","b":[1]}\r') == {"a": "😀", "b": [1]}


def test_php_arrays_know_no_empty_object_and_no_whole_float():
    assert phpjson.as_php_array({}) == []
    assert phpjson.as_php_array({"a": {}, "b": [{}, 1.0, 1.5, True]}) == {"a": [], "b": [[], 1, 1.5, True]}
