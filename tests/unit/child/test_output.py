"""What a pipe prints is told with those that printed it."""

import json

import pytest

from coworker.child.output import MARK, Output, split_errors
from coworker.ipc.messages import Note
from coworker.model import SYSTEM, Identity


def told(item="7", **fields):
    """A line of the bundled adapter."""
    return json.dumps({"coworker": "task_error", "id": item, **fields}, separators=(",", ":")) + "\n"


# --- split_errors ---


def test_what_the_adapter_told_is_taken_out_and_the_rest_is_as_it_was():
    text = "before\n" + told(7, title="a task", callback="a::b", error="no luck") + "\n  after"
    rest, errors = split_errors(text)
    assert rest == "before\n\n  after"
    assert errors == {"7": {"title": "a task", "callback": "a::b", "error": "no luck"}}


def test_fields_that_are_unknown_or_null_are_left_out():
    _, errors = split_errors(told("7", title=None, error="x", secret="y"))
    assert errors == {"7": {"error": "x"}}


def test_of_two_lines_about_one_item_the_last_holds():
    _, errors = split_errors(told("7", error="first") + told("8", error="other") + told("7", error="last"))
    assert errors == {"7": {"error": "last"}, "8": {"error": "other"}}


@pytest.mark.parametrize(
    "text",
    [
        "PHP Warning: nothing of the adapter\n",
        MARK + ', "id": 7, "error": "torn off',
        MARK + "}\n",  # without an id
        MARK + ',"id":7} and more\n',
        "> " + told(),  # quoted by a task
    ],
)
def test_what_only_looks_like_it_is_printed_as_it_is(text):
    assert split_errors(text) == (text, {})


# --- who printed what ---


class World:
    """An Output whose pipe has printed `noise` on stdout and `stderr`; it is its own client and link."""

    def __init__(self):
        self.noise = self.stderr = ""
        self.said = []
        self.output = Output(self, self)

    def take_noise(self):
        text, self.noise = self.noise, ""
        return text

    def take_stderr(self):
        text, self.stderr = self.stderr, ""
        return text

    def post(self, report):
        self.said.append(report)


@pytest.fixture
def world():
    return World()


def test_before_any_task_the_pipe_itself_prints(world):
    world.noise, world.stderr = "Notice\n", "Deprecated\n"
    world.output.tell()
    assert world.said == [
        Note("notice", "pipe_printed", {"text": "Notice\n"}),
        Note("debug", "pipe_stderr", {"text": "Deprecated\n"}),
    ]


def test_what_tasks_print_has_their_names_also_what_comes_later(world):
    world.output.begin("q", ["7", "8"], Identity(100, 1))
    names = {"queue": "q", "items": "7,8", "identity": "contact 100, domain 1"}
    for text in ("now", "later"):
        world.noise = text
        world.output.tell()
        assert world.said[-1] == Note("warning", "task_printed", {**names, "text": text})


def test_what_is_there_when_the_next_begin_is_of_those_before(world):
    world.noise = "at boot"
    world.output.begin("q", ["7"], SYSTEM)
    world.noise = "of seven"
    world.output.begin("q", ["8"], SYSTEM)
    world.noise = "of eight"
    world.output.tell()
    assert [(note.fields.get("items"), note.fields["text"]) for note in world.said] == [
        (None, "at boot"),
        ("7", "of seven"),
        ("8", "of eight"),
    ]


@pytest.mark.parametrize(("failed", "level"), [(True, "notice"), (False, "debug")])
def test_stderr_is_of_interest_when_a_task_failed(world, failed, level):
    world.output.begin("q", ["7"], SYSTEM)
    world.stderr = "PHP Fatal error\n" + told("7", error="no luck")
    assert world.output.tell(failed=failed) == {"7": {"error": "no luck"}}
    (note,) = world.said
    assert (note.level, note.event, note.fields["text"]) == (level, "task_stderr", "PHP Fatal error\n")


def test_nothing_printed_nothing_said(world):
    world.output.begin("q", ["7"], SYSTEM)
    world.stderr = told("7", error="no luck")
    world.output.tell(failed=True)
    assert world.said == []
