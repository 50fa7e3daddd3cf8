"""From files, environment and command line to a Config."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.config_files import SITE, read, writer

from coworker.config.load import default_directories, load
from coworker.config.settings import Config, QueueSettings, SiteSettings, WorkerSettings
from coworker.config.table import SETTINGS
from coworker.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


def test_the_defaults_are_those_of_the_design(write):
    config = read(write(SITE))
    assert config.log.level == "info"
    assert (config.log.format, config.log.file, config.log.looking) == ("auto", "-", False)
    assert config.coworker.graceful_timeout == 30.0
    assert (config.coworker.duration, config.coworker.user, config.coworker.allow_root) == (0.0, None, False)
    assert config.sites == (
        SiteSettings(
            name="example", cwd=None, pipe="cv pipe", poll_interval=0.2,
            civicrm_version="5.51", queues=(),
            workers=WorkerSettings(
                count=2, boot_budget=1, max_requests=200, max_age=600.0, idle_timeout=60.0, min_idle=1,
                task_timeout=1800.0, boot_timeout=30.0, slice=0.5, overlap=True,
            ),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("euid", [0, 1000])
def test_systemd_decides_on_the_directories_first(euid):
    environ = {"RUNTIME_DIRECTORY": "/run/a:/run/b", "STATE_DIRECTORY": "/var/lib/a", "XDG_RUNTIME_DIR": "/x"}
    assert default_directories(environ, euid) == {"run_dir": Path("/run/a"), "state_dir": Path("/var/lib/a")}


@pytest.mark.parametrize(
    ("environ", "euid", "run_dir", "state_dir"),
    [
        ({}, 0, "/run/coworker", "/var/lib/coworker"),
        ({"XDG_RUNTIME_DIR": "/x", "XDG_STATE_HOME": "/y"}, 0, "/run/coworker", "/var/lib/coworker"),
        ({"XDG_RUNTIME_DIR": "/x", "XDG_STATE_HOME": "/y"}, 7, "/x/coworker", "/y/coworker"),
        ({"XDG_RUNTIME_DIR": "", "HOME": "/h"}, 7, "/tmp/coworker-7", "/h/.local/state/coworker"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, 7, "/tmp/coworker-7", "/h/.local/state/coworker"),
    ],
)
def test_default_directories(environ, euid, run_dir, state_dir):
    expected = {"run_dir": Path(run_dir), "state_dir": Path(state_dir)}
    assert default_directories(environ, euid) == expected


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(write):
    path = write('[log]\nlevel = "debug"\n[workers]\ncount = 3\nslice = 2\nmax_age = 5\n' + SITE)
    environ = {"COWORKER_WORKERS_COUNT": "4", "COWORKER_WORKERS_SLICE": "3"}
    workers = read(path, "workers.slice=7", environ=environ).sites[0].workers
    assert (workers.slice, workers.count, workers.max_age, workers.boot_budget) == (7.0, 4, 5.0, 1)


def test_what_is_said_for_a_site_beats_what_is_said_for_all(write):
    path = write("[workers]\ncount = 3\nmin_idle = 2\n" + SITE + "workers = 4\n")
    workers = read(path, "workers.count=9").sites[0].workers
    assert (workers.count, workers.min_idle) == (4, 2)


@pytest.mark.parametrize(
    "form", ["workers = 4", "workers = {count = 4}", "[sites.example.workers]\ncount = 4"]
)
def test_workers_of_a_site_as_a_number_or_a_table(write, form):
    assert read(write(SITE + form)).sites[0].workers == WorkerSettings(count=4)


def test_the_first_pattern_that_matches_wins(write):
    text = SITE + "".join(
        f'[sites.example.queues."{pattern}"]\n{body}\n'
        for pattern, body in [("import/x*", ""), ("import/*", "concurrency = 2"), ("*", "task_timeout = 5")]
    )
    site = read(write(text)).sites[0]
    assert site.queue("import/xy") == QueueSettings("import/x*", 0, 1, None)
    assert site.queue("import/y") == QueueSettings("import/*", 2, 1, None)
    assert site.queue("Import/y") == QueueSettings("*", 0, 1, 5.0)
    assert read(write(SITE)).sites[0].queue("any") == QueueSettings("*")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ("user_job_*", 1, True)),
        ([("*", "concurrency = 4")], ("user_job_*", 1, True)),
        ([("user_job_*", "concurrency = 4\nweight = 2")], ("user_job_*", 1, True)),
        ([("user_job_*", "concurrency_total = 2")], ("user_job_*", 2, False)),
        ([("user_job_*", "concurrency_total = 0")], ("user_job_*", 0, False)),
        ([("*", "weight = 2"), ("user_*", "concurrency_total = 3")], ("user_*", 3, False)),
        ([("user_job_7", "weight = 2"), ("*", "concurrency_total = 3")], ("*", 3, False)),
        ([("user_job_8", "concurrency_total = 3")], ("user_job_*", 1, True)),
    ],
)
def test_the_limit_of_imports_together_holds_unless_a_pattern_gives_another(write, given, expected):
    tables = [f'[sites.example.queues."{pattern}"]\n{body}\n' for pattern, body in given]
    site = read(write(SITE + "".join(tables))).sites[0]
    assert site.total("user_job_7") == expected


def test_other_queues_share_no_limit_unless_one_is_given(write):
    site = read(write(SITE + '[sites.example.queues."import/*"]\nconcurrency_total = 2\n')).sites[0]
    assert site.total("import/x") == ("import/*", 2, False)
    assert site.total("mail").limit == 0


def test_a_pattern_of_the_command_line_goes_first_a_known_one_keeps_its_place(write):
    text = SITE + 'queues."import/*".weight = 2\nqueues."*" = {}\n'
    site = read(
        write(text), "sites.example.queues.import/x.weight=3", 'sites.example.queues."*".weight=4'
    ).sites[0]
    assert [(q.pattern, q.weight) for q in site.queues] == [("import/x", 3), ("import/*", 2), ("*", 4)]


def test_without_a_file_the_command_line_can_say_everything():
    config = read(None, "sites.a.pipe=x", "sites.b.pipe=y=z", "sites.b.workers=3", "graceful_timeout=1.5")
    assert [(site.name, site.pipe, site.workers.count) for site in config.sites] == [
        ("a", "x", 2),
        ("b", "y=z", 3),
    ]
    assert config.coworker.graceful_timeout == 1.5
    assert config.files == ()


@pytest.mark.parametrize(
    ("override", "pattern"),
    [
        ('sites."example.com".queues."a.b=c".weight=5', "a.b=c"),
        ("sites.example.com.queues.a.b.weight=5", "a.b"),  # a shell took the quotes away
        ("sites.'example.com'.queues.'import/*'.weight=5", "import/*"),
    ],
)
def test_dots_in_names_on_the_command_line(override, pattern):
    (site,) = read(None, "sites.example.com.pipe=x", "sites.example.com.workers.count=3", override).sites
    assert (site.name, site.workers.count) == ("example.com", 3)
    assert site.queues == (QueueSettings(pattern, weight=5),)


def test_the_environment_reaches_sites_that_exist(write):
    path = write('[sites."Example.com"]\npipe = "a"\n[sites."Example.com".queues."import/*"]\n')
    environ = {
        "COWORKER_SITES_EXAMPLE_COM_PIPE": "b",
        "COWORKER_SITES_EXAMPLE_COM_WORKERS": "5",
        "COWORKER_SITES_EXAMPLE_COM_QUEUES_IMPORT___WEIGHT": "6",
        "COWORKER_SITES_OTHER_PIPE": "c",
        "COWORKER_TEST_SOMETHING": "d",
        "COWORKER_LOG_LEVEL": "",
        "COWORKER_ALLOW_ROOT": "Yes",
    }
    config = read(path, environ=environ)
    (site,) = config.sites
    assert (site.pipe, site.workers.count, site.queues[0].weight) == ("b", 5, 6)
    assert (config.log.level, config.coworker.allow_root) == ("info", True)


def test_drop_ins_are_read_after_the_file_in_the_order_of_their_names(write):
    path = write("[workers]\ncount = 2\nslice = 1\n" + SITE)
    write("[workers]\ncount = 5\n", "c.d/2.toml")
    write("[workers]\ncount = 4\nslice = 3\n", "c.d/1.toml")
    for ignored in (".hidden.toml", "readme.txt", "x.toml~"):
        write("nonsense", f"c.d/{ignored}")
    config = read(path)
    assert config.files == (path, path.parent / "c.d/1.toml", path.parent / "c.d/2.toml")
    assert (config.sites[0].workers.count, config.sites[0].workers.slice) == (5, 3.0)


def test_paths(write, tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = write(
        '[coworker]\nrun_dir = "~/run"\nstate_dir = "s"\n[log]\nfile = "l"\n' + SITE + 'cwd = "web"\n'
    )
    config = read(path)
    assert config.coworker.run_dir == Path("/home/u/run")
    assert config.coworker.state_dir == tmp_path / "s"
    assert config.log.file == str(tmp_path / "l")
    assert config.sites[0].cwd == tmp_path / "web"
    assert read(path, "state_dir=s").coworker.state_dir == tmp_path / "here" / "s"
    assert os.path.normpath(read(Path("../c.toml")).sites[0].cwd) == str(tmp_path / "web")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("run ${TOKEN}", "run secret"),
        ("${TOKEN}${TOKEN}", "secretsecret"),
        ("run $${TOKEN} $TOKEN $$ $", "run ${TOKEN} $TOKEN $$ $"),
        ("${BRACED}", "${TOKEN}"),  # once, not again
    ],
)
def test_variables_in_text(write, text, result):
    environ = {"TOKEN": "secret", "BRACED": "${TOKEN}"}
    path = write(f'{SITE}[coworker]\nuser = "{text}"\n')
    assert read(path, environ=environ).coworker.user == result
    assert read(write(SITE), f"user={text}", environ=environ).coworker.user == result


@pytest.mark.parametrize("pipe", ["run ${TOKEN}", "run ${TOKEN:-x} $${TOKEN} $TOKEN", "${UNSET}"])
def test_the_variables_of_a_pipe_are_left_to_the_shell(write, pipe):
    path = write(f'[sites.example]\npipe = "{pipe}"\n')
    assert read(path, environ={"TOKEN": "secret"}).sites[0].pipe == pipe


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("YES", True), ("1", True), ("false", False), ("no", False), ("0", False)],
)
def test_truth_as_text(write, text, value):
    assert read(write(SITE), f"log.looking={text}").log.looking is value


# --- nothing that is given makes it crash ---

WORDS = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "1e9",
        "nan",
        "true",
        "no",
        "x",
        "${A}",
        "${",
        "$${",
        "~",
        "-",
        "5.51",
        "\0",
        "\n",
        "\udcff",
    ]
)
VALUES = st.sampled_from(
    [
        "''",
        "'x'",
        "'${A}'",
        "1",
        "-1",
        "0",
        "0.5",
        "1e400",
        "nan",
        "true",
        "[]",
        "{}",
        "{a = 1}",
        "1979-05-27",
        "x",
    ]
)
NAMES = [setting.name.replace("NAME", "example").replace("PATTERN", "'a.*'") for setting in SETTINGS]
ANY_NAME = st.sampled_from(
    [*NAMES, "x", "log.x", "sites.example", "sites.'a b'.pipe", "sites.example.queues.x"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    given=st.lists(st.tuples(ANY_NAME, VALUES), max_size=6),
    overrides=st.lists(st.tuples(ANY_NAME, WORDS), max_size=4),
    text=st.text(max_size=20),
)
def test_whatever_is_given_it_is_a_config_or_a_list_of_problems(tmp_path, given, overrides, text):
    path = tmp_path / "c.toml"
    path.write_text("\n".join(f"{name} = {value}" for name, value in given))
    listed = []
    try:
        config = load(path, [*overrides, (text, text)], {"COWORKER_LOG_LEVEL": text}, euid=1000)
    except ConfigError as error:
        config, listed = None, error.problems
    assert isinstance(config, Config) or listed
    assert all(problem.isprintable() for problem in listed)
