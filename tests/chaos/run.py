"""One run: tasks, faults, the end, the verdict."""

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

from chaos.faults import Faults
from chaos.judge import judge
from chaos.world import LEASE, World

PATIENCE = 60.0 + 4 * LEASE  # seconds for the last tasks once the faults are over


@dataclass
class Result:
    """`violations`: [(word, item, why)]; `counts`: what happened how often."""

    seed: int
    tasks: int
    seconds: float
    counts: Counter
    violations: list = field(default_factory=list)

    def __str__(self):
        words = Counter(word for word, *_ in self.violations)
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return (
            f"seed {self.seed}: {self.tasks} tasks, {self.seconds:.0f} s; {faults}; "
            f"lost {words.pop('lost', 0)}, doubled {words.pop('doubled', 0)}, other {sum(words.values())}"
        )


def run(folder, *, tasks, seed, seconds=0.0, without=(), php=False):
    """Push `tasks`, attack until most are done (at least for `seconds`), and judge."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # a shell that starts us in the background has us ignore them
    rng = random.Random(seed)
    world = World(folder, random.Random(rng.random()), php)
    faults = Faults(world, rng, without)
    began = time.monotonic()
    try:
        _attack(world, faults, tasks, began + seconds)
        _finish(world, faults)
        problems = _stop(world, faults)
        violations = [*judge(*world.verdict_values()), *problems]
    except AssertionError as error:
        violations = [("harness", "-", f"{error}; the last faults: {faults.log[-5:]}")]
    finally:
        for daemon in [*faults.daemons(), faults.second_left]:
            if daemon is not None:
                daemon.destroy()
    result = Result(seed, len(world.stories), time.monotonic() - began, faults.counts, violations)
    return result, world, faults


def _attack(world, faults, tasks, until):
    """Faults, while tasks come in ten parts."""
    rng, pushed = faults.rng, 0
    while pushed < tasks or world.left() > tasks * 0.05 or time.monotonic() < until:
        if pushed < tasks and world.left() < tasks * 0.3:
            world.push(min(tasks // 10 or 1, tasks - pushed))
            pushed += tasks // 10 or 1
        elif pushed >= tasks and time.monotonic() < until and world.left() < tasks * 0.3:
            world.push(tasks // 10 or 1)
        time.sleep(rng.uniform(0.1, 1.2))
        world.tend()
        faults.one()


def _finish(world, faults):
    """No more faults: everything comes to its end, by leases if need be."""
    faults.reload(world.settings())
    end = time.monotonic() + PATIENCE
    while world.left() and time.monotonic() < end:
        world.tend()
        time.sleep(0.1)
    # What is remembered of items that crashed goes with the next look that finds their queues empty.
    while any(daemon.remembers() for daemon in faults.daemons()) and time.monotonic() < end:
        time.sleep(0.05)


def _stop(world, faults):
    """Stop what runs. Nothing may be left: no process of any daemon there was, no file, no lease."""
    problems = []
    for daemon in faults.daemons():
        faults.end(daemon, signal.SIGTERM)
        problems += [("file", name, f"of {daemon.label} is left") for name in daemon.files()]
        if daemon.process.returncode:
            problems.append(("exit", daemon.label, f"status {daemon.process.returncode}"))
    left = [(str(each.pid), " ".join(each.cmdline())[:200]) for each in world.processes()]
    return [*problems, *(("process", pid, f"is left: {command}") for pid, command in left)]


def explain(world, faults, violation):
    """Everything about one violation, as text."""
    word, item, why = violation
    if item not in world.stories:
        return f"{word} {item}: {why}"
    story = world.stories[item]
    lines = [f"{word}: item {item} ({story.kind} in {story.queue}): {why}"]
    lines += [f"  {a}" for a in story.attempts]
    lines += [f"  row {row}" for row in world.audit(item)]
    lines += [f"  settled {line}" for line in world.settled() if line["item"] == item]
    times = [at for a in story.attempts for at in (a.start, a.end) if at]
    near = [f for f in faults.log if any(abs(f[0] - at) < 4 for at in times)]
    lines += [f"  fault {fault}" for fault in near]
    return "\n".join(lines)
