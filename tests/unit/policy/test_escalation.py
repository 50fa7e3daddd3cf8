"""The ladder from a message to KILL."""

from coworker.policy import escalation


def test_the_ladder_ends_with_kill_again_and_again():
    assert [escalation.next_step(rung).value for rung in range(5)] == [
        "message",
        "term",
        "kill",
        "kill",
        "kill",
    ]
