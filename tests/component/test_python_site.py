"""`coworker pipe` as a process: boot, streams, signals, deaths, and many of them on one store."""

import json
import os
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from support.python_site_pipe import PATIENCE, ROOT, Pipe, rows, run_command, wait_until

from coworker.civiserver.service import QueueService
from coworker.civiserver.site_store import open_site
from coworker.queues.task import Task

TASKS = "support.tasks:"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def service(url):
    service = QueueService(open_site(url))
    service.create_queue("q")
    yield service
    service.site.close()


@pytest.fixture
def start(url):
    """A function that starts a pipe; all of them are ended afterwards."""
    pipes = []

    def start_one(*options, store=url, **more):
        pipes.append(Pipe(store, *options, **more))
        return pipes[-1]

    yield start_one
    for pipe in pipes:
        pipe.destroy()


@pytest.fixture
def orphan(tmp_path):
    """The pid that a task wrote to the file `child`; killed afterwards."""
    path = tmp_path / "child"
    yield lambda: int(wait_until(lambda: path.exists() and path.read_text()))
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(path.read_text()), signal.SIGKILL)


# boot


def test_help_teaches_with_an_example_that_works():
    helped = run_command("--help").stdout
    lines = [line.strip() for line in helped.splitlines()]
    first = next(number for number, line in enumerate(lines) if line.startswith("echo "))
    example = "\n".join(lines[first : first + 3]).replace(
        "coworker pipe", f"{sys.executable} -m coworker pipe"
    )
    result = subprocess.run(["sh", "-c", example], capture_output=True, text=True, check=True, cwd=ROOT)
    assert [json.loads(line) for line in result.stdout.splitlines()][1] == {
        "jsonrpc": "2.0",
        "result": [],
        "id": 1,
    }


@pytest.mark.parametrize(
    ("store", "status", "message"),
    [
        ("sqlite:///no/such/directory/queue.db", 1, "unable to open database file"),
        (f"sqlite:///{__file__}", 1, "file is not a database"),
        ("mysql://localhost/civicrm", 78, "is not known: use sqlite:///FILE"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_line_and_no_welcome(store, status, message):
    result = run_command("--store", store)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (status, "", 1)
    assert message in result.stderr


def test_trusted_and_untrusted_at_once_is_fatal():
    result = run_command("--store", "memory:", "vtu")
    assert (result.returncode, result.stdout) == (255, "")
    assert "trusted" in result.stderr


def test_a_version_that_is_none_is_a_mistake_in_the_settings():
    result = run_command("--store", "memory:", "--as-version", "six")
    assert (result.returncode, result.stdout) == (78, "")
    assert "--as-version: 'six' is not a CiviCRM version" in result.stderr


def test_only_what_a_worker_needs_is_imported():
    heavy = "{'rich', 'structlog', 'psutil', 'setproctitle', 'tomllib', 'asyncio', 'http'} & set(sys.modules)"
    code = f"import sys\nfrom coworker.cli import main\ntry: main()\nfinally: print({heavy}, file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code, "pipe", "--store", "memory:"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert result.stderr == "set()\n"


@pytest.mark.parametrize(("options", "calls"), [(["--boot-cost", "300"], 0), (["--call-cost", "100"], 3)])
def test_costs_are_cpu_time(options, calls):
    request = '{"jsonrpc":"2.0","method":"api4","params":["Queue","get",{"checkPermissions":false}]}\n'
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = run_command("--store", "memory:", *options, text=request * calls)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime > 0.3


def test_the_clock_can_be_ahead(start):
    select = {"select": ["NOW() AS now"], "currentDomain": True}
    ahead = start("--clock-offset", "86400").api4("Domain", "get", **select)[0]["now"]
    assert ahead[:10] != start().api4("Domain", "get", **select)[0]["now"][:10]


# streams


def test_without_a_prefix_what_tasks_print_goes_to_standard_error(start, service):
    service.push("q", f"{TASKS}print_everywhere")
    pipe = start()
    assert pipe.api4("Queue", "runItems", queue="q")[0]["outcome"] == "ok"
    assert pipe.call("echo", [1]) == [1]
    status, rest, error = pipe.finish()
    assert (status, rest) == (0, b"")
    assert error == "from python\nfrom the descriptor\nfrom a program\nwithout a line end"


def test_with_a_prefix_what_tasks_print_comes_before_the_answer(start, service):
    service.push("q", f"{TASKS}print_everywhere")
    pipe = start(prefix="\x01\x02")
    pipe.send_api4("Queue", "runItems", queue="q")
    lines = [pipe.read_line() for _ in range(4)]
    assert lines[:3] == [b"from python", b"from the descriptor", b"from a program"]
    noise, answer = lines[3].split(pipe.prefix)
    assert noise == b"without a line end"
    assert json.loads(answer)["result"][0]["outcome"] == "ok"
    assert pipe.finish() == (0, b"", "")


def test_a_task_cannot_eat_requests(start, service):
    service.push("q", f"{TASKS}read_stdin")
    pipe = start()
    pipe.send_api4("Queue", "runItems", queue="q")
    pipe.send("echo", ["not eaten"])
    assert json.loads(pipe.read_line())["result"][0]["outcome"] == "ok"
    assert json.loads(pipe.read_line())["result"] == ["not eaten"]


@pytest.mark.parametrize("task", ["start_program", "fork_child"])
def test_a_child_that_outlives_the_pipe_holds_neither_its_input_nor_its_output(
    start, service, orphan, tmp_path, task
):
    service.push("q", f"{TASKS}{task}", str(tmp_path))
    pipe = start()
    assert pipe.api4("Queue", "runItems", queue="q")[0]["outcome"] == "ok"
    pid = orphan()
    pipe.process.kill()
    pipe.process.wait()
    assert os.read(pipe.process.stdout.fileno(), 1) == b""  # the end of the file: nobody else can write
    with pytest.raises(BrokenPipeError):  # and nobody else can read
        pipe.process.stdin.write(b"x\n")
        pipe.process.stdin.flush()
    os.kill(pid, 0)  # it lives


def test_a_request_longer_than_the_buffer_gives_several_errors(start):
    pipe = start()
    pipe.call("options", {"bufferSize": 100})
    pipe.send("echo", ["x" * 150])
    errors = [json.loads(pipe.read_line()) for _ in range(3)]
    assert [error["error"]["code"] for error in errors] == [-32700] * 3
    assert not any("id" in error for error in errors)
    assert pipe.call("echo", ["y"]) == ["y"]


def test_long_lines_go_both_ways(start):
    text = "é" * 80_000
    assert start().call("echo", [text]) == [text]


def test_a_last_line_without_line_end_is_answered(start):
    pipe = start()
    pipe.process.stdin.write(b'{"jsonrpc":"2.0","method":"echo","params":[5]}')
    assert pipe.finish()[:2] == (0, b'{"jsonrpc":"2.0","result":[5]}\n')


# ends


@pytest.mark.parametrize("how", ["sys.exit", "os._exit"])
def test_a_task_that_exits_ends_the_pipe_and_leaves_the_row_leased(start, service, how):
    service.push("q", f"{TASKS}exit_with", 3, "last words\n", how)
    pipe = start(prefix="\x01")
    pipe.send_api4("Queue", "runItems", queue="q")
    assert pipe.finish()[:2] == (3, b"last words\n")
    assert rows(service) == [(1, True, 1)]


def test_an_interrupted_task_ends_the_pipe_and_is_not_settled(start, service):
    service.push("q", f"{TASKS}interrupt")
    pipe = start()
    pipe.send_api4("Queue", "runItems", queue="q")
    status, rest, _ = pipe.finish()
    assert (status != 0, rest) == (True, b"")
    assert rows(service) == [(1, True, 1)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_kill(start, number):
    pipe = start()
    pipe.process.send_signal(number)
    assert pipe.process.wait(PATIENCE) == -number


def batch_with_a_gate(service, tmp_path):
    """A queue with a batch of three: one that ends, one that waits, one that has not begun."""
    os.mkfifo(tmp_path / "gate")
    service.create_queue("batch", batch_limit=3)
    service.push("batch", f"{TASKS}write", str(tmp_path), "first")
    service.push("batch", f"{TASKS}wait_for_gate", str(tmp_path))
    service.push("batch", f"{TASKS}write", str(tmp_path), "third")


def test_killed_in_mid_batch_the_unfinished_rows_stay_leased(start, service, tmp_path):
    batch_with_a_gate(service, tmp_path)
    pipe = start()
    pipe.send_api4("Queue", "runItems", queue="batch")
    wait_until((tmp_path / "running").exists)
    assert rows(service, "batch") == [(2, True, 1), (3, True, 1)]
    pipe.process.kill()
    assert pipe.finish()[:2] == (-signal.SIGKILL, b"")
    assert rows(service, "batch") == [(2, True, 1), (3, True, 1)]
    assert not (tmp_path / "third").exists()


def test_a_client_that_hangs_up_does_not_stop_the_batch(start, service, tmp_path):
    batch_with_a_gate(service, tmp_path)
    pipe = start()
    pipe.send_api4("Queue", "runItems", queue="batch")
    wait_until((tmp_path / "running").exists)
    pipe.process.stdin.close()
    pipe.process.stdout.close()
    with (tmp_path / "gate").open("w"):
        pass
    assert pipe.process.wait(PATIENCE) == 0
    assert rows(service, "batch") == []
    assert (tmp_path / "third").exists()


def test_failures_are_one_line_each_on_standard_error(start, service):
    service.push("q", f"{TASKS}throw", "over\ntwo lines", title="Mine")
    pipe = start(prefix="\x01")
    pipe.send_api4("Queue", "runItems", queue="q")
    pipe.read_line()
    assert pipe.finish()[2] == 'Task "q#1" (Mine) failed and will be deleted. ValueError: over two lines\n'


# many


def test_four_processes_claim_two_thousand_items_and_none_twice(start, service):
    service.create_queue("many", batch_limit=3)
    service.push_all("many", [Task("builtins:repr")] * 2000)
    pipes = [start() for _ in range(4)]
    claimed = {pipe: [] for pipe in pipes}
    waiting = {pipe.process.stdout.fileno(): pipe for pipe in pipes}
    for pipe in pipes:
        pipe.send_api4("Queue", "claimItems", queue="many", select=["id"])
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], PATIENCE)
        assert ready
        for descriptor in ready:
            pipe = waiting[descriptor]
            items = json.loads(pipe.read_line())["result"]
            claimed[pipe] += [int(item["id"]) for item in items]
            if items:
                pipe.send_api4("Queue", "claimItems", queue="many", select=["id"])
            else:
                del waiting[descriptor]
    everything = sorted(item_id for ids in claimed.values() for item_id in ids)
    assert everything == list(range(1, 2001))
    assert all(claimed.values()), "one process had nothing to do: nothing was tried at the same time"
    assert all(leased and count == 1 for _, leased, count in rows(service, "many"))
