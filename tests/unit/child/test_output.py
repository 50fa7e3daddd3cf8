"""What a pipe prints is told with those that printed it."""

import json

import pytest

from coworker.child.output import MARK, Leftover, Output, split_stderr
from coworker.errors import LeftBehindError
from coworker.ipc.messages import Note, Spent
from coworker.model import SYSTEM, Identity


def told(item="7", **fields):
    """A line of the bundled adapter."""
    return json.dumps({"coworker": "task_error", "id": item, **fields}, separators=(",", ":")) + "\n"


def left(**fields):
    """Another one."""
    what = {"coworker": "task_left", "id": "7", "what": "umask", "text": "umask is 0077", "level": "notice"}
    return json.dumps({**what, **fields}, separators=(",", ":")) + "\n"


# --- split_stderr ---


def test_what_the_adapter_told_is_taken_out_and_the_rest_is_as_it_was():
    text = "before\n" + told(7, title="a task", callback="a::b", error="no luck") + "\n  after"
    rest, errors, _ = split_stderr(text)
    assert rest == "before\n\n  after"
    assert errors == {"7": {"title": "a task", "callback": "a::b", "error": "no luck"}}


def test_fields_that_are_unknown_or_null_are_left_out():
    _, errors, _ = split_stderr(told("7", title=None, error="x", secret="y"))
    assert errors == {"7": {"error": "x"}}


def test_of_two_lines_about_one_item_the_last_holds():
    _, errors, _ = split_stderr(told("7", error="first") + told("8", error="other") + told("7", error="last"))
    assert errors == {"7": {"error": "last"}, "8": {"error": "other"}}


@pytest.mark.parametrize(
    "text",
    [
        "PHP Warning: nothing of the adapter\n",
        MARK + 'error", "id": 7, "error": "torn off',
        MARK + 'error"}\n',  # without an id
        MARK + 'error","id":7} and more\n',
        "> " + told(),  # quoted by a task
        left(level="loud"),
        left(level=None),
        MARK + 'left","id":7,"level":"info"}\n',  # without what
        MARK + 'other","id":7}\n',
    ],
)
def test_what_only_looks_like_it_is_printed_as_it_is(text):
    assert split_stderr(text) == (text, {}, [])


def test_what_a_task_left_behind_is_told_with_its_name():
    text = (
        "a\n" + left(title="a task", callback="a::b", replace=None, secret="y") + told("8", error="x") + "b\n"
    )
    found = Leftover("7", "umask", "umask is 0077", "notice", "a task", "a::b")
    assert split_stderr(text) == ("a\nb\n", {"8": {"error": "x"}}, [found])


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


def test_of_a_page_only_the_gist_is_logged(world):
    world.noise = "<html><title>Error</title><style>p {}</style><p>No luck. Try again.</html>"
    world.output.tell()
    assert world.said == [Note("notice", "pipe_printed", {"text": "Error: No luck."})]


def test_nothing_printed_nothing_said(world):
    world.output.begin("q", ["7"], SYSTEM)
    world.stderr = told("7", error="no luck")
    world.output.tell(failed=True)
    assert world.said == []


# --- what tasks leave behind ---


def test_what_is_left_behind_is_logged_with_the_name_of_its_task(world):
    world.output.begin("q", ["7", "8"], SYSTEM)
    world.stderr = left(callback="a::b")
    world.output.tell()
    (note,) = world.said
    assert (note.level, note.event) == ("notice", "task_left")
    names = {"queue": "q", "item": "7", "identity": "system", "title": None, "callback": "a::b"}
    assert note.fields == {**names, "what": "umask", "text": "umask is 0077"}
    world.output.check_fitness()


def test_a_pipe_that_another_should_take_the_place_of_works_on(world):
    world.stderr = left(replace="soon")
    world.output.tell()
    assert world.said[1:] == [Spent("left_behind")]
    world.output.check_fitness()


def test_in_a_pipe_that_is_to_be_replaced_now_nothing_may_be_run_any_more(world):
    world.stderr = left(replace="now", callback="a::b", text="somebody else logged in")
    world.output.tell()
    with pytest.raises(LeftBehindError, match=r"item 7 \(a::b\) has left somebody else logged in"):
        world.output.check_fitness()
