"""On which line a key stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coworker.config.locate import Lines
from coworker.config.table import SETTINGS, Key, Kind, dotted
from coworker.config.toml import loads

TEXT = '''\
# [coworker]
[coworker] # count = 1
user = "www # [log]"
"run_dir" = """
[log]
level = "no, this is text"
""\\"
"""
[log]
file = \'\'\'
[workers]
count = 1\'\'\'   # level = "debug"
level = "info"

[workers]
count=2
  max_age   =   600

[sites."example.com"]
pipe = 'a "quoted # thing'
workers = {count = 4, min_idle = 1} # short
[sites.example.queues."import/*"]
weight = 3
[sites.example.queues]
'mail # [x]' = { "weight" = 1, task_timeout = 5 }
other.weight = 2
"tab\\tbed".weight = 2
[sites.dotted]
pipe = 'x'
poll_interval = [ # a comment ]
  1, "]",
  {x = 1}
]
cwd = [
["workers"], # looks like a header
]
workers = { a = """

""", count = 1 }
[sites . spaced]
pipe = "a"
[sites.implicit.workers]
count = 1
'''

LINES: list[tuple[Key, int]] = [
    (("coworker",), 2),
    (("coworker", "user"), 3),
    (("coworker", "run_dir"), 4),
    (("log",), 9),
    (("log", "file"), 10),
    (("log", "level"), 13),
    (("workers",), 15),
    (("workers", "count"), 16),
    (("workers", "max_age"), 17),
    (("sites", "example.com"), 19),
    (("sites", "example.com", "pipe"), 20),
    (("sites", "example.com", "workers"), 21),
    (("sites", "example.com", "workers", "count"), 21),
    (("sites", "example.com", "workers", "min_idle"), 21),
    (("sites", "example", "queues", "import/*"), 22),
    (("sites", "example", "queues", "import/*", "weight"), 23),
    (("sites", "example", "queues", "mail # [x]", "task_timeout"), 25),
    (("sites", "example", "queues", "other", "weight"), 26),
    (("sites", "example", "queues", "tab\tbed", "weight"), 27),
    (("sites", "dotted", "workers", "count"), 39),
    (("sites", "dotted", "poll_interval"), 30),
    (("sites", "dotted", "cwd"), 34),
    (("sites", "dotted", "workers", "a"), 37),
    (("sites", "spaced", "pipe"), 41),
    (("sites", "implicit"), 42),
    (("sites", "implicit", "pipe"), 42),  # not there: the nearest table
    (("nowhere",), 1),
]


def test_the_text_of_these_tests_is_valid():
    assert loads(TEXT)["sites"]["implicit"] == {"workers": {"count": 1}}


@pytest.mark.parametrize(("key", "line"), LINES, ids=[dotted(key) for key, _ in LINES])
def test_line_of_a_key(key, line):
    assert Lines(TEXT).of(key) == line


def test_windows_line_ends_count_once():
    assert Lines("[log]\r\nlevel = 'x'\r\nfile = 'y'\r\n").of(("log", "file")) == 3


def test_the_place_before_a_duplicate_is_found():
    before, again = Lines("[sites.a]\n[sites.b]\n[sites.a]\n").earlier(3)
    assert (before.line, again.line, again.key) == (1, 3, ("sites", "a"))
    assert Lines("[sites.a]\n[sites.b]\n").earlier(2) is None


@given(st.text(alphabet="ab.[]{}='\"#, \n\\1", max_size=60))
def test_any_text_is_scanned_to_its_end(text):
    places = Lines(text).places
    assert all(1 <= place.line <= text.count("\n") + 1 for place in places)


VALUES = {
    Kind.BOOLEAN: ["true", "false"],
    Kind.INTEGER: ["7", "1_0"],
    Kind.NUMBER: ["0.5", "30"],
}
TEXTS = [
    '"a"',
    "'# no comment'",
    '"""\n[workers]\ncount = 9\n"""',
    "'''\n'''",
    '"[log]\\n\\" = "',
    '[\n[1], # ]\n["]"],\n["log"]\n]',
]
NAMES = ["example", '"example.com"', "'quoted'", '"a \\" b"', "a-b"]
PATTERNS = ['"import/*"', "'mail # ='", "plain", '"[a]"']


def _value(setting):
    return st.sampled_from(VALUES.get(setting.kind, TEXTS))


@st.composite
def documents(draw):
    """A text of known settings, and the line on which each was written."""
    lines, places = [], {}
    filler = st.sampled_from(["", "# comment = [", "   ", "#[sites.x]"])

    def table(header, settings, style):
        chosen = draw(st.lists(st.sampled_from(settings), unique=True, max_size=4))
        parts = tuple(_parts(header))
        if style == "inline":
            parent, _, last = header.rpartition(".")
            short = [(s, draw(_value(s).filter(lambda text: "\n" not in text))) for s in chosen]
            lines.append(f"[{parent}]")
            lines.append(f"{last} = {{ {', '.join(f'{s.field} = {text}' for s, text in short)} }}")
            places.update({(*parts, s.field): len(lines) for s in chosen})
            return
        prefix = ""
        if style == "table":
            lines.append(f"[{header}]{draw(st.sampled_from(['', ' # x', '  ']))}")
        else:
            prefix = header + "."
        for setting in chosen:
            lines.extend(draw(st.lists(filler, max_size=2)))
            places.update({(*parts, setting.field): len(lines) + 1})
            text = f"{prefix}{setting.field} = {draw(_value(setting))}{draw(st.sampled_from(['', ' # = [']))}"
            lines.extend(text.split("\n"))

    def section(name):
        return [s for s in SETTINGS if s.section == name]

    if draw(st.booleans()):
        table("log", section("log"), "dotted")
    table("coworker", section("coworker"), "table")
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)):
        pattern = draw(st.sampled_from(PATTERNS))
        style = draw(st.sampled_from(["table", "inline"]))
        table(f"sites.{name}.queues.{pattern}", section("sites.NAME.queues.PATTERN"), style)
        table(f"sites.{name}", [s for s in section("sites.NAME") if s.field != "workers"], "table")
    return "\n".join(lines), places


def _parts(header):
    data, parts = loads(f"[{header}]"), []
    while data:
        (part,) = data
        parts.append(part)
        data = data[part]
    return parts


@given(documents())
def test_every_key_of_any_document_is_found_on_its_line(document):
    text, places = document
    loads(text)  # valid, or this test would prove nothing
    lines = Lines(text)
    assert {key: lines.of(key) for key in places} == places
    for key, line in places.items():
        assert key[-1] in text.split("\n")[line - 1]
