"""The verdict: what the site's own audit and the tasks' log say must agree with each queue's policy.

Values in, violations out; `test_judge` breaks each rule once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Policy:
    """Of a queue."""

    retry_limit: int = 0
    crash_limit: int = 2


@dataclass(frozen=True)
class Attempt:
    """One start of a task: in which pipe, of which daemon, when; and when it ended, if it did."""

    pid: int
    daemon: str
    start: float
    end: float | None = None


@dataclass
class Story:
    """All that is known of one item. `gone`: its row was removed.

    `noted`: its pipe had noted that it calls the task, and was killed before the task's first word.
    """

    id: str
    queue: str
    kind: str
    attempts: list[Attempt] = field(default_factory=list)
    gone: bool = False
    noted: bool = False


@dataclass(frozen=True)
class Stop:
    """Between `begin` and `end` a daemon stopped: what it ended meanwhile is given back."""

    daemon: str
    begin: float
    end: float


def read_log(lines):
    """{item: its attempts} from the tasks' log."""
    found = defaultdict(list)
    for line in lines:
        word, item, _queue, _try, pid, daemon, at, *_ = line.split()
        if word == "child":  # that a task left behind
            continue
        if word == "start":
            found[item].append(Attempt(int(pid), daemon, float(at)))
            continue
        for place in range(len(found[item]) - 1, -1, -1):
            attempt = found[item][place]
            if attempt.pid == int(pid) and attempt.end is None:
                found[item][place] = Attempt(attempt.pid, attempt.daemon, attempt.start, float(at))
                break
    return dict(found)


def last_of_their_pipes(stories):
    """{(item, index)} of attempts that were their pipe's last: it may have been killed in them."""
    last = {}
    for story in stories:
        for index, attempt in enumerate(story.attempts):
            key = attempt.pid, attempt.daemon
            if key not in last or attempt.start >= last[key][0]:
                last[key] = attempt.start, story.id, index
    return {(item, index) for _, item, index in last.values()}


def judge(stories, policies, stops):
    """[(word, item, why)]: lost, doubled, stuck, burnt (a try was counted that never was)."""
    last = last_of_their_pipes(stories)
    found = []
    for story in stories:
        found += [(word, story.id, why) for word, why in _judge(story, policies[story.queue], stops, last)]
    return found


def _judge(story, policy, stops, last):
    attempts = story.attempts
    if not story.gone:
        yield "stuck", "its row is still there"
        return
    if not attempts and not story.noted:
        yield "lost", "deleted, and never begun"
        return
    excused = sum(_given_back(attempt, stops) for attempt in attempts)
    if len(attempts) > policy.retry_limit + 1 + excused:
        yield "doubled", f"begun {len(attempts)} times, {excused} of them given back at a stop"
    for index, attempt in enumerate(attempts[:-1]):
        fails = story.kind == "fail"
        if attempt.end is not None and not fails and (story.id, index) not in last:
            yield "doubled", f"begun again after it had ended in pipe {attempt.pid}, which went on"
        if attempt.end is not None and attempt.end > attempts[index + 1].start:
            yield "doubled", f"begun again while it ran in pipe {attempt.pid}"
    if story.kind == "fail" or all(attempt.end is None for attempt in attempts):
        enough = policy.retry_limit + 1
        interrupted = any((story.id, index) in last for index, _ in enumerate(attempts))
        if interrupted and policy.crash_limit:
            enough = min(enough, policy.crash_limit)
        if len(attempts) + story.noted < enough:
            yield "burnt", f"begun {len(attempts)} times, though its queue allows {enough}"


def _given_back(attempt, stops):
    """Whether it may have been running when its daemon was stopped."""
    return any(
        stop.daemon == attempt.daemon
        and attempt.start <= stop.end
        and (attempt.end is None or attempt.end >= stop.begin)
        for stop in stops
    )
