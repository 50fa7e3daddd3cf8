"""A real daemon under test: started as a user would, read through its log, watched through /proc."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

PATIENCE = 60.0  # seconds that a condition may take on a busy machine


class EndedError(Exception):
    """The daemon ended while something was expected of it."""


def wait_until(condition, what="the condition", seconds=PATIENCE):
    """Return the first true value of `condition()`; fail when it takes too long.

    It looks ever more seldom: what looks 100 times a second takes the processor from those it waits for.
    """
    end = time.monotonic() + seconds
    pause = 0.005
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {seconds} s")
        time.sleep(pause)
        pause = min(0.05, 1.2 * pause)


class Daemon:
    """`coworker -c FILE` with `settings` (TOML; run_dir, state_dir and JSON log are added), in `folder`."""

    def __init__(
        self, folder, settings, *, arguments=(), environment=None, wait="ready", share=None, prefix=()
    ):
        self.folder = share.folder if share else folder
        self.folder.mkdir(exist_ok=True)
        self.file = folder.with_suffix(".toml") if share else self.folder / "coworker.toml"
        self.log = folder.with_suffix(".log")
        self.error = folder.with_suffix(".err")
        self.configure(settings)
        command = [*prefix, sys.executable, "-m", "coworker", "-c", str(self.file), *arguments]
        env = {**os.environ, "COWORKER_ALLOW_ROOT": "1", **(environment or {})}
        env = {name: value for name, value in env.items() if value is not None}
        with self.error.open("wb") as error:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=error, stderr=error, env=env, start_new_session=True
            )
        self.pid = self.process.pid
        self._groups = set()
        self._inode, self._position, self._lines = 0, 0, []  # of the log, as far as it was read
        if wait:
            self.event(wait)

    def configure(self, settings):
        """Write the settings file anew; HUP reads it."""
        if isinstance(settings, bytes):
            self.file.write_bytes(settings)
            return
        head = (
            f'[coworker]\nrun_dir = "{self.folder}/run"\nstate_dir = "{self.folder}/state"\n'
            f'[log]\nlevel = "debug"\nformat = "json"\nfile = "{self.log}"\n'
        )
        self.file.write_text(head + settings)

    # --- its log ---

    def events(self, event=None, **fields):
        """The lines of the log as dicts: all, or those of one event with these fields."""
        self._read_log()
        return [e for e in self._lines if event in (None, e["event"]) and fields.items() <= e.items()]

    def _read_log(self):
        """Read what is new; all of it when it is another file."""
        inode = self.log.stat().st_ino if self.log.exists() else 0
        if inode != self._inode:
            self._inode, self._position, self._lines = inode, 0, []
        if not inode:
            return
        with self.log.open("rb") as stream:
            stream.seek(self._position)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # the rest of it may come at any moment: it would look like a line
                self._position += len(line)
                self._lines.append(json.loads(line))

    def event(self, event, count=1, seconds=PATIENCE, **fields):
        """Wait for the `count`th such event, and return it."""

        def look():
            if len(found := self.events(event, **fields)) >= count:
                return found[count - 1]
            if self.process.poll() is not None and len(found := self.events(event, **fields)) < count:
                raise EndedError(f"no {event} {fields}; exit status {self.process.returncode}; {self.tail()}")
            return None

        try:
            return wait_until(look, f"event {event} {fields} ({count})", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.tail()}") from None

    def tail(self):
        log = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"log: {log}\nstderr: {self.error.read_text(errors='replace')[-2000:]}"

    # --- its processes ---

    def tree(self):
        """Every process below the master, zombies left out."""
        found = []
        try:
            found = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            pass
        alive = [p for p in found if _title(p) is not None]
        for process in alive:
            try:
                self._groups.add(os.getpgid(process.pid))
            except ProcessLookupError:
                pass
        return alive

    def titles(self):
        """{pid: title} of the children that are coworker's own.

        A child that just starts its pipe is there twice for a moment, until the other executes its shell: so
        only children of the master itself.
        """
        own = [process for process in self.tree() if _parent(process) == self.pid]
        return {p.pid: title for p in own if (title := _title(p) or "").startswith("coworker: ")}

    def workers(self):
        return [pid for pid, title in self.titles().items() if title.startswith("coworker: worker")]

    def control(self):
        return next(pid for pid, title in self.titles().items() if title.startswith("coworker: control"))

    def pipe_of(self, pid):
        """The pid of the pipe command that this child started."""
        return psutil.Process(pid).children()[0].pid

    def send(self, number):
        os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Signal it and wait for its end; returns its exit status."""
        self.tree()
        self.send(number)
        return self.process.wait(seconds)

    def kill_all(self, choose=lambda tree: tree):
        """KILL the master and those of the processes below it that `choose` says, at once.

        As when the machine loses power, if that is all of them. Returns those that were left alive.
        """
        master, tree = psutil.Process(self.pid), self.tree()
        _each(psutil.Process.suspend, [master])  # nobody is replaced meanwhile
        chosen = [master, *choose(tree)]
        _each(psutil.Process.suspend, chosen)  # none may notice the end of another, and do something about it
        new = [process for process in self.tree() if process not in tree] if len(chosen) > len(tree) else []
        _each(psutil.Process.kill, [*chosen, *new])
        self.process.wait()
        wait_until(lambda: not any(map(_is_alive, [*chosen, *new])), "their end")
        return [process for process in tree if process not in chosen]

    def destroy(self):
        """At the end of a test: nothing it started may be left, whatever happened."""
        self.tree()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for group in self._groups - {os.getpgid(0)}:
            try:
                os.killpg(group, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def _each(deed, processes):
    """Do it to all of them that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            deed(process)


def _is_alive(process):
    return process.is_running() and _title(process) is not None


def _parent(process):
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _title(process):
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return " ".join(process.cmdline()).rstrip("\0 ")
    except psutil.Error:
        return None
