"""A worker's credentials: asked for when they are needed, and for no longer than that makes sense."""

from collections import deque
from types import SimpleNamespace

import pytest

from coworker.child import tokens
from coworker.child.tokens import LIFETIME, PATIENCE, PAUSE, STALE_AFTER, Tokens, issue
from coworker.errors import CallError
from coworker.ipc import messages as m


class World:
    """A link and a poller whose waits take no time. `answers` come one for each request, a second later."""

    def __init__(self, monkeypatch):
        self.now, self.inbox, self.asked, self.answers = 100.0, deque(), [], []
        monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.tokens = Tokens(self, self)
        self._due = []

    def report(self, report):
        self.asked.append((report, self.now))
        if self.answers:
            self._due.append((self.now + 1.0, self.answers.pop(0)))

    def wait(self, seconds):
        self.now += min(max(0.0, seconds), 1.0)
        self.inbox.extend(answer for at, answer in self._due if at <= self.now)
        self._due = [each for each in self._due if each[0] > self.now]


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def good(text, contact=100):
    return m.Token(contact, text)


def test_one_is_good_for_some_time_and_then_another_is_asked_for(world):
    world.answers = [good("one"), good("two")]
    assert world.tokens.of(100) == "one"
    got_at = world.now
    world.now = got_at + STALE_AFTER - 0.1
    assert world.tokens.of(100) == "one"
    assert len(world.asked) == 1
    world.now = got_at + STALE_AFTER
    assert world.tokens.of(100) == "two"
    assert world.now < got_at + LIFETIME


def test_each_contact_has_its_own(world):
    world.answers = [good("one"), good("other", 200)]
    assert (world.tokens.of(100), world.tokens.of(200), world.tokens.of(100)) == ("one", "other", "one")
    assert [report for report, _ in world.asked] == [m.TokenWanted(100), m.TokenWanted(200)]


def test_orders_that_come_meanwhile_and_tokens_of_others_stay_where_they_are(world):
    others = [m.Pause(), good("other", 200), m.Retire("reload")]
    world.inbox.extend(others)
    world.answers = [good("one")]
    assert world.tokens.of(100) == "one"
    assert list(world.inbox) == others


def test_while_control_is_replaced_it_is_asked_again(world):
    world.answers = [m.Token(100, "", m.NO_CONTROL), m.Token(100, "", m.NO_CONTROL), good("one")]
    assert world.tokens.of(100) == "one"
    moments = [at for _, at in world.asked]
    assert moments == pytest.approx([100.0, 101.0 + PAUSE, 102.0 + 2 * PAUSE])


def test_control_that_does_not_come_back_is_waited_for_so_long_only(world):
    world.answers = [m.Token(100, "", m.NO_CONTROL)] * 999
    with pytest.raises(CallError, match="contact 100"):
        world.tokens.of(100)
    assert 100.0 + PATIENCE <= world.now <= 100.0 + PATIENCE + 1.0


def test_control_that_says_nothing_is_waited_for_so_long_only(world):
    with pytest.raises(CallError, match="contact 100: control made no token in time"):
        world.tokens.of(100)
    assert world.now == pytest.approx(100.0 + PATIENCE)


def test_a_refusal_is_told_and_not_kept(world):
    world.answers = [m.Token(100, "", "no such contact"), good("one")]
    with pytest.raises(CallError, match="cannot act as contact 100: no such contact"):
        world.tokens.of(100)
    assert world.tokens.of(100) == "one"


@pytest.mark.parametrize("text", ["secret", "Bearer secret"])
def test_it_is_made_for_the_contact_and_outlives_its_use(text):
    calls = []

    class Site:
        def api4(self, *call):
            calls.append(call)
            return [{"cred": text}]

    assert issue(Site(), 100) == "secret"
    assert calls == [("AuthxCredential", "create", {"contactId": 100, "ttl": LIFETIME})]


@pytest.mark.parametrize("answer", [[], {}, None, [{}], ["x"], 3])
def test_an_answer_that_is_no_token_is_an_error_of_the_call(answer):
    with pytest.raises(CallError):
        issue(SimpleNamespace(api4=lambda *_call: answer), 100)
