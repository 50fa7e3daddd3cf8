"""The benchmark runs and reports; what it measures is judged by people, not here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent.parent


def benchmark(*arguments):
    command = [sys.executable, "-m", "tests.benchmark", *arguments]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("throughput", "--tasks 20 --workers 2 --batch 5", {"ratio", "daemon_cpu", "bare_cpu"}),
        ("latency", "--tasks 2", {"p50", "p99", "p50_share"}),
        ("parallelism", "--rounds 2 --seconds 0.1 --workers 2", {"ratio", "all_busy"}),
        ("many", "--queues 1,5 --rows 20", {"look", "decision", "start"}),
        ("footprint", "--tasks 5 --workers 2", {"worker_uss", "master_pss", "master_fds"}),
        ("growth", "--tasks 200", {"master_uss", "workers_uss", "pss"}),
        ("idle", "--seconds 0.1 --workers 1", {"daemon", "pipes_cpu"}),
        ("recycling", "--max-requests 5 --lives 2", {"ratio", "rate"}),
        ("reload", "--calm 0.5 --workers 2", {"gap", "p99", "ratio"}),
        ("boot", "", {"what", "ours", "reference"}),
    ],
)
def test_each_benchmark_reports_its_measures(name, options, keys):
    once = () if name in ("footprint", "growth") else ("--boot-cost", "0", "--repetitions", "1")
    done = benchmark(name, *options.split(), *once, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["name"] == name
    assert report["rows"]
    assert all(keys <= row.keys() for row in report["rows"])


def test_a_table_has_a_row_for_each_case_below_its_titles():
    done = benchmark("footprint", "--tasks", "1", "--workers", "1,2")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[-2:]
    assert (first.split()[0], second.split()[0]) == ("1", "2")


def test_a_report_is_saved_as_a_table_and_a_picture(tmp_path):
    options = ("--tasks", "1", "--workers", "1", "--save", str(tmp_path))
    done = benchmark("footprint", *options)
    assert done.returncode == 0, done.stderr
    assert "| workers |" in (tmp_path / "footprint.md").read_text()
    assert "</svg>" in (tmp_path / "footprint.svg").read_text()


def test_a_live_site_is_filled_and_counted_by_commands(site, tmp_path):
    script = f"{sys.executable} {write_script(tmp_path, site.store)}"
    given = ("--pipe", site.command(), "--fill", f"{script} {{queue}} {{n}} {{batch}}", "--count", script)
    sizes = ("--tasks", "30", "--workers", "2", "--batch", "5", "--repetitions", "1")
    done = benchmark("throughput", *given, *sizes, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["daemon_rate"]["median"] > 0
    assert site.left() == 0


def write_script(folder, store):
    """As an administrator might: with three arguments it fills a queue, without it counts what is left."""
    file = folder / "script.py"
    file.write_text(
        f"""
import sys
from pathlib import Path

sys.path.insert(0, {str(TOP / "tests")!r})
from support.site import Site

site = Site(Path({str(store)!r}), Path("unused"))
if len(sys.argv) == 1:
    print("items left:", site.left())
else:
    queue, n, batch = sys.argv[1:]
    if not site.execute("SELECT 1 FROM civicrm_queue WHERE name = ?", queue):
        site.queue(queue, batch_limit=int(batch))
    site.push(queue, "builtins:hasattr", "item_id", times=int(n))
"""
    )
    return file


def test_a_count_without_a_number_is_named(site):
    given = ("--pipe", site.command(), "--fill", "true", "--count", "echo none")
    done = benchmark("throughput", *given, "--tasks", "1", "--workers", "1", "--repetitions", "1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: 'echo none' says 'none\\n', which ends in no number"


def test_one_of_three_commands_is_a_usage_error():
    done = benchmark("latency", "--pipe", "true")
    assert done.returncode == 2
    assert "--pipe, --fill and --count go together" in done.stderr


def test_workers_that_are_no_numbers_are_a_usage_error():
    done = benchmark("throughput", "--workers", "1,many")
    assert done.returncode == 2
    assert "1,many" in done.stderr
