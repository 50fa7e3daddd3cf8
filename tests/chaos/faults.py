"""What is done to the daemon, by chance: one method each. `Faults.one` picks, and counts."""

import signal
import time
from collections import Counter
from contextlib import suppress

import psutil
from support.daemon import wait_until

from chaos.world import hide, lock

WEIGHTS = {
    "kill_pipe": 6,
    "kill_worker": 4,
    "kill_control": 2,
    "kill_master": 2,
    "kill_tree": 3,
    "kill_half": 2,
    "freeze_pipe": 2,
    "reload_good": 2,
    "reload_bad": 2,
    "stop": 2,
    "stop_fast": 1,
    "second": 3,
    "pause": 1,
    "site_locked": 1,
    "site_cut": 2,
    "site_down": 1,
}
BAD = [b"[workers\n", b"[workers]\ncount = 'x'\n", b"[sites.other]\npipe = 'exit 3'\n", b""]


class Faults:
    """`log` takes (time, name, what) of each."""

    def __init__(self, world, rng, without=()):
        self.world, self.rng = world, rng
        self.weights = {name: weight for name, weight in WEIGHTS.items() if name not in without}
        self.counts = Counter()
        self.log = []
        self.main = world.start("main")
        self.second_one = None
        self.second_left = None  # a second daemon that was killed: it will be started again

    def one(self):
        """One fault, chosen by weight."""
        name = self.rng.choices(list(self.weights), list(self.weights.values()))[0]
        self.counts[name] += 1
        self.note(name)
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            getattr(self, name)()

    def note(self, name, what=""):
        self.log.append((time.time(), name, what))

    def pick(self, processes):
        """Any of these, None if there is none."""
        return self.rng.choice(processes) if processes else None

    def kill_one(self, processes):
        process = self.pick(processes)
        if process is not None:
            self.note("killed", process.pid)
            process.kill()

    # --- the faults ---

    def kill_pipe(self):
        self.kill_one(self.main.pipes())

    def kill_worker(self):
        self.kill_one([psutil.Process(pid) for pid in self.main.workers()])

    def kill_control(self):
        titles = self.main.titles().items()
        self.kill_one([psutil.Process(pid) for pid, title in titles if "control" in title])

    def kill_master(self):
        self.main.kill_all(lambda _tree: [])
        self.restart()

    def kill_tree(self):
        self.main.kill_all()
        self.restart()

    def kill_half(self):
        self.main.kill_all(lambda tree: self.rng.sample(tree, len(tree) // 2))
        self.restart()

    def restart(self):
        self.main = self.world.start("main", share=self.main)

    def freeze_pipe(self):
        process = self.pick(self.main.pipes())
        if process is not None:
            process.send_signal(signal.SIGSTOP)

    def reload_good(self):
        self.reload(self.world.settings(max_requests=self.rng.randint(5, 50)))

    def reload_bad(self):
        self.reload(self.rng.choice(BAD))

    def reload(self, settings):
        self.main.event("started")  # before it listens, HUP ends it, as it does every program
        self.main.configure(settings)
        self.main.send(signal.SIGHUP)

    def stop(self):
        self.end(self.main, signal.SIGTERM)
        self.restart()

    def stop_fast(self):
        self.end(self.main, signal.SIGQUIT)
        self.restart()

    def end(self, daemon, number):
        """Tell it to stop, and wait until it has."""
        begin = time.time()
        daemon.configure(self.world.settings())
        with suppress(ProcessLookupError):
            daemon.send(number)
        wait_until(lambda: daemon.process.poll() is not None, f"the end of {daemon.label}")
        self.world.stopped(daemon, begin)

    def second(self):
        """Another daemon on the same site comes, or goes."""
        if self.second_one is None:
            self.second_one = self.world.start("second", share=self.second_left)
            self.second_left = None
        elif self.rng.random() < 0.5:
            self.end(self.second_one, signal.SIGTERM)
            self.second_one = None
        else:
            self.second_one.kill_all()
            self.second_left, self.second_one = self.second_one, None
            self.second()  # its claims end by its own restart

    def pause(self):
        """All of it stands still, as in a virtual machine that sleeps."""
        tree = [psutil.Process(self.main.pid), *self.main.tree()]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in tree:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)
            if number == signal.SIGSTOP:
                time.sleep(self.rng.uniform(0.5, 4.0))

    def site_cut(self):
        hide(self.world.site, self.rng.uniform(0.1, 1.0))

    def site_locked(self):
        lock(self.world.site.store, self.rng.uniform(0.5, 2.0))

    def site_down(self):
        self.world.up.unlink(missing_ok=True)
        time.sleep(self.rng.uniform(0.5, 3.0))
        self.world.up.touch()

    def daemons(self):
        return [daemon for daemon in (self.main, self.second_one) if daemon is not None]
