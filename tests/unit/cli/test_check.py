"""`coworker check`."""

import json
from inspect import signature

import pytest
from click.testing import CliRunner

from coworker.cli.check import check


def runner():
    """With standard error apart, as newer versions of click always have it."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**apart)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(text, *arguments):
        (tmp_path / "c.toml").write_text(text)
        return runner().invoke(check, ["-c", "c.toml", *arguments])

    return run


GOOD = '[sites.example]\npipe = "x"\nworkers = 4\n[sites.other]\npipe = "y"\n'
BAD = '[sites.example]\npipe = "x"\npip = "y"\n[workers]\ncount = "2"\n'
LISTED = [
    'c.toml:3: sites.example.pip: unknown setting, did you mean "pipe"?',
    'c.toml:5: workers.count: must be a whole number, not "2"',
]


def test_ok(run):
    result = run(GOOD)
    assert (result.exit_code, result.output) == (0, "OK: 2 sites (example, other), 6 workers\n")


def test_ok_as_json(run, tmp_path):
    result = run(GOOD, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "ok": True,
        "warnings": [],
        "files": [str(tmp_path / "c.toml")],
        "sites": [{"name": "example", "workers": 4}, {"name": "other", "workers": 2}],
    }


def test_one_of_each(run):
    result = run('[sites.a]\npipe = "x"\nworkers = 1\n')
    assert result.stdout == "OK: 1 site (a), 1 worker\n"


def test_mistakes(run):
    result = run(BAD)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == LISTED


def test_mistakes_as_json(run):
    result = run(BAD, "--json")
    assert result.exit_code == 78
    assert json.loads(result.stdout) == {"ok": False, "problems": LISTED}


def test_a_definition_counts(run):
    assert run(GOOD, "-d", "sites.other.workers=1").stdout.endswith("5 workers\n")
    result = run(GOOD, "-d", "workers.count")
    assert (result.exit_code, result.stderr) == (78, "-d workers.count: must be KEY=VALUE\n")


def test_a_file_that_is_not_there(run):
    result = run(GOOD, "-c", "nowhere.toml")
    assert (result.exit_code, result.stderr) == (78, "nowhere.toml: no such file\n")


def test_help_teaches(run):
    result = run(GOOD, "--help")
    for word in ("Examples:\n", "coworker check -c conf/coworker.toml\n", "  78  they are not\n", "--json"):
        assert word in result.stdout
