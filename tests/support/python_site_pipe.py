"""A `coworker pipe` process and a simple client of it."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
PATIENCE = 60.0  # seconds, on a busy machine


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)
    return value


class Pipe:
    """A `coworker pipe` process and a simple client."""

    def __init__(self, url, *options, prefix=None):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "coworker", "pipe", "--store", url, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])},
        )
        self._output = b""
        self.welcome = json.loads(self.read_line())
        self.prefix = b""
        if "t" in self.welcome["Civi::pipe"]:
            self.call("options", {"apiCheckPermissions": False})
        if prefix:
            self.send("options", {"responsePrefix": prefix})
            self.prefix = prefix.encode()
            assert self.read_line().startswith(self.prefix)

    def send(self, method, params):
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def send_api4(self, entity, action, **params):
        self.send("api4", [entity, action, params])

    def call(self, method, params):
        self.send(method, params)
        return json.loads(self.read_line())["result"]

    def api4(self, entity, action, **params):
        return self.call("api4", [entity, action, params])

    def read_line(self):
        while b"\n" not in self._output:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
            assert ready, "no answer"
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, f"the pipe ended: {self.process.stderr.read()}"
            self._output += chunk
        line, self._output = self._output.split(b"\n", 1)
        return line

    def finish(self):
        """Close the input; (exit status, rest of stdout, stderr)."""
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        rest = self._output + self.process.stdout.read()
        error = self.process.stderr.read().decode()
        return self.process.wait(PATIENCE), rest, error

    def destroy(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(BrokenPipeError):
                stream.close()


def run_command(*arguments, text=""):
    return subprocess.run(
        [sys.executable, "-m", "coworker", "pipe", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=ROOT,
    )


def rows(service, queue="q"):
    """(id, leased, run_count) of each item."""
    now = service.store.now()
    text = "SELECT id, release_time, run_count FROM civicrm_queue_item WHERE queue_name = ? ORDER BY id"
    found = service.store.file.rows(text, [queue])
    return [(item_id, release is not None and release > now, count) for item_id, release, count in found]
