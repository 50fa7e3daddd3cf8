"""One seed of chaos, and the judge: each rule that it knows is broken once."""

import pytest

from chaos.judge import Attempt, Policy, Stop, Story, judge, read_log
from chaos.run import explain, run

POLICY = {"q": Policy(retry_limit=1), "once": Policy()}


def story(*attempts, queue="q", kind="nap", gone=True, **more):
    return Story("7", queue, kind, list(attempts), gone=gone, **more)


def words(*stories, stops=()):
    return [word for word, *_ in judge(stories, POLICY, list(stops))]


ENDED, CUT, AGAIN = Attempt(1, "d", 1.0, 2.0), Attempt(1, "d", 1.0), Attempt(2, "d", 5.0, 6.0)
BESIDE = Story("8", "q", "nap", [Attempt(1, "d", 3.0, 4.0)], gone=True)  # pipe 1 went on


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param([story(ENDED)], [], id="it ran"),
        pytest.param([story(CUT, AGAIN)], [], id="killed, and run again as its queue allows"),
        pytest.param([story(ENDED, gone=False)], ["stuck"], id="its row is left"),
        pytest.param([story()], ["lost"], id="deleted unrun"),
        pytest.param([story(queue="once")], ["lost"], id="deleted, though it never said a word"),
        pytest.param([story(queue="once", noted=True)], [], id="but its pipe had noted that it calls it"),
        pytest.param([story(CUT, AGAIN, queue="once")], ["doubled"], id="its queue allows no retry"),
        pytest.param([story(ENDED, AGAIN), BESIDE], ["doubled"], id="it had ended, in a pipe that lived"),
        pytest.param(
            [story(Attempt(1, "d", 1.0, 9.0), Attempt(2, "d", 5.0, 6.0))], ["doubled"], id="twice at once"
        ),
        pytest.param([story(CUT)], ["burnt"], id="a try too few"),
        pytest.param([story(ENDED, kind="fail")], ["burnt"], id="a task that fails has a retry"),
        pytest.param([story(ENDED, AGAIN, kind="fail")], [], id="and has had it"),
    ],
)
def test_the_judge_sees_it(case, expected):
    stories = (
        [*case, Story("9", "q", "nap", [Attempt(1, "d", 3.0, 4.0)], gone=True)]
        if case[0].kind == "fail"
        else case
    )
    assert words(*stories) == expected


def test_what_a_stop_ended_is_given_back():
    twice = story(CUT, AGAIN, queue="once")
    assert words(twice, stops=[Stop("d", 1.5, 2.0)]) == []
    assert words(twice, stops=[Stop("other", 1.5, 2.0)]) == ["doubled"]
    assert words(twice, stops=[Stop("d", 0.1, 0.9)]) == ["doubled"]


def test_the_log_is_read_by_pipes():
    lines = ["start 7 q 1 11 d-1 1.0", "start 7 q 2 12 d-2 2.0", "end 7 q 2 12 d-2 3.0"]
    assert read_log(lines) == {"7": [Attempt(11, "d-1", 1.0), Attempt(12, "d-2", 2.0, 3.0)]}


@pytest.mark.slow
def test_400_tasks_in_chaos_are_all_accounted_for(tmp_path):
    result, world, faults = run(tmp_path, tasks=400, seed=1)
    print(result)
    assert not result.violations, "\n".join(
        [str(result), *(explain(world, faults, v) for v in result.violations)]
    )
    assert sum(result.counts.values()) >= 10
    assert result.tasks >= 400
