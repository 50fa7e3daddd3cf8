"""How long anything may take."""

from coworker.policy import timeouts


def test_the_ladder_ends_with_kill_again_and_again():
    assert [timeouts.next_step(rung).value for rung in range(5)] == [
        "message",
        "term",
        "kill",
        "kill",
        "kill",
    ]
