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
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "OK: 2 sites (example, other), 6 workers",
        "example: user_job_*: 1 worker at most on all of them together (preset)",
        "other: user_job_*: 1 worker at most on all of them together (preset)",
    ]


def test_ok_as_json(run, tmp_path):
    result = run(GOOD, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "ok": True,
        "warnings": [],
        "files": [str(tmp_path / "c.toml")],
        "sites": [
            {"name": "example", "workers": 4, "concurrency_total": {"user_job_*": 1}},
            {"name": "other", "workers": 2, "concurrency_total": {"user_job_*": 1}},
        ],
    }


def test_one_of_each(run):
    result = run('[sites.a]\npipe = "x"\nworkers = 1\n')
    assert result.stdout.splitlines()[0] == "OK: 1 site (a), 1 worker"


def test_the_limits_over_several_queues_are_shown_as_they_count(run):
    pattern = '[sites.a]\npipe = "x"\n[sites.a.queues."{}"]\nconcurrency_total = {}\n'.format
    assert run(pattern("mail/*", 3)).stdout.splitlines()[1:] == [
        "a: mail/*: 3 workers at most on all of them together",
        "a: user_job_*: 1 worker at most on all of them together (preset)",
    ]
    assert run(pattern("*", 0)).stdout.splitlines()[1:] == ["a: *: no limit on all of them together"]


def test_mistakes(run):
    result = run(BAD)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == LISTED


def test_mistakes_as_json(run):
    result = run(BAD, "--json")
    assert result.exit_code == 78
    assert json.loads(result.stdout) == {"ok": False, "problems": LISTED}


def test_a_definition_counts(run):
    assert run(GOOD, "-d", "sites.other.workers=1").stdout.startswith(
        "OK: 2 sites (example, other), 5 workers\n"
    )
    result = run(GOOD, "-d", "workers.count")
    assert (result.exit_code, result.stderr) == (78, "-d workers.count: must be KEY=VALUE\n")


def test_a_credential_that_cannot_be_used_is_warned_of_without_showing_it(run, tmp_path):
    (tmp_path / "token").write_text("SEC\x07RET")
    (tmp_path / "token").chmod(0o600)
    web = 'web = "https://a.example/civicrm/ajax/api4/{entity}/{action}"'
    result = run(f'[sites.a]\n{web}\nweb_token_file = "token"\n')
    assert result.stderr == (
        f"warning: sites.a: the credential in {tmp_path}/token cannot be used: its character 4 is U+0007\n"
    )


def test_one_site_under_two_names_is_warned_of(run, tmp_path, monkeypatch):
    monkeypatch.setenv("T", "SECRET")
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    web = 'web = "https://a.example/civicrm/ajax/api4/{entity}/{action}"\nweb_token = "${T}"\n'
    result = run(
        '[sites.one]\npipe = "cv pipe vtl"\ncwd = "root"\n[sites.two]\npipe = "cv pipe vtl"\ncwd = "link"\n'
        '[sites.else]\npipe = "cv pipe vtl"\n[sites.far]\npipe = "cv pipe vtl"\ncwd = "/"\nssh = "far"\n'
        f"[sites.three]\n{web}[sites.four]\n{web}"
    )
    says = "limits and leases count twice, so keep one of them"
    assert result.stderr.splitlines() == [
        f"warning: sites.two: is the same site as one: {says}",
        f"warning: sites.four: is the same site as three: {says}",
    ]


def test_a_file_that_is_not_there(run):
    result = run(GOOD, "-c", "nowhere.toml")
    assert (result.exit_code, result.stderr) == (78, "nowhere.toml: no such file\n")


def test_help_teaches(run):
    result = run(GOOD, "--help")
    for word in ("Examples:\n", "coworker check -c conf/coworker.toml\n", "  78  they are not\n", "--json"):
        assert word in result.stdout
