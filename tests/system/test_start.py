"""Starting: what is wrong is said in one clear line, and nothing is started."""

import pytest
from support.starting import everybodys_directory, refusal
from support.tables import settings, site_table

SITE = "[sites.example]\npipe = 'sleep 600'\n"


@pytest.fixture
def write(tmp_path):
    """Write a settings file whose directories lie in tmp_path."""

    def write(text):
        path = tmp_path / "c.toml"
        head = f'coworker.run_dir = "{tmp_path}/run"\ncoworker.state_dir = "{tmp_path}/state"\n'
        path.write_bytes(text if isinstance(text, bytes) else (head + text).encode())
        return path

    return write


@pytest.fixture
def shared():
    yield from everybodys_directory()


def assert_nothing_made(tmp_path):
    assert {path.name for path in tmp_path.iterdir()} <= {"c.toml", "c.d"}


BAD_FILES = {
    "a syntax error": (
        "[sites.example]\npipe = sleep 600\n",
        "c.toml:4:8: invalid value (text needs quotes)",
    ),
    "an unknown key": (
        f"{SITE}[workers]\nmax_request = 1\n",
        'c.toml:6: workers.max_request: unknown setting, did you mean "max_requests"?',
    ),
    "a value out of range": (
        f"{SITE}[workers]\ncount = 0\n",
        "c.toml:6: workers.count: 0 is out of range, it must be 1 to 1000",
    ),
    "two sites of one name": (
        SITE + SITE,
        "c.toml:5:15: sites.example: two sites of one name, the other is at line 3",
    ),
    "no site": ("", "c.toml: no site: give --pipe=COMMAND or a table [sites.NAME] with its pipe"),
    "no pipe and no site": ("[sites.example]\ncwd = '/'\n", "sites.example: no CiviCRM site found in / (nor"),
    "bytes that are no text": (b'[log]\nlevel = "\xff"\n', "c.toml:2: is not UTF-8"),
}


@pytest.mark.parametrize(("text", "line"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_refused_with_one_line_and_nothing_is_started(write, tmp_path, text, line):
    path = write(text)
    (said,) = refusal("-c", path)
    assert said.removeprefix(f"{tmp_path}/").startswith(line)
    assert_nothing_made(tmp_path)


def test_every_mistake_is_said_at_once(write, tmp_path):
    path = write("[sites.example]\nssh = '-x'\n[workers]\ncount = 0\nslise = 1\n")
    assert [line.rpartition("c.toml:")[2].split(":")[0] for line in refusal("-c", path)] == ["4", "6", "7"]


def test_a_missing_file_is_refused(tmp_path):
    (said,) = refusal("-c", tmp_path / "c.toml")
    assert said == f"{tmp_path}/c.toml: no such file"


def test_a_directory_as_file_is_refused(tmp_path):
    (said,) = refusal("-c", tmp_path)
    assert said == f"{tmp_path}: cannot be read: is a directory"


def test_a_file_that_may_not_be_read_is_refused(shared):
    path = shared / "c.toml"
    path.write_text(SITE)
    path.chmod(0)
    (said,) = refusal("-c", path, as_nobody=True)
    assert said == f"{path}: cannot be read: permission denied"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-d", "workers.cuont=2"], 'workers.cuont=2: unknown setting, did you mean "workers.count"?'),
        (["-d", "workers.count=many"], "must be a whole number"),
        (["-d", "workers.count"], "KEY=VALUE"),
    ],
)
def test_a_bad_override_is_refused(write, tmp_path, arguments, line):
    (said,) = refusal("-c", write(SITE), *arguments)
    assert line in said
    assert_nothing_made(tmp_path)


def test_a_bad_variable_in_the_environment_is_refused(write, tmp_path):
    (said,) = refusal("-c", write(SITE), COWORKER_WORKERS_COUNT="none")
    assert said.startswith("environment COWORKER_WORKERS_COUNT: must be a whole number")
    assert_nothing_made(tmp_path)


HINT = "it must be a file that the user of the daemon may write"


def test_a_log_file_in_a_directory_that_is_missing_is_refused(write, tmp_path):
    path = write(f"{SITE}[log]\nfile = '{tmp_path}/no/such/file.log'\n")
    (said,) = refusal("-c", path)
    assert said == f"log.file = {tmp_path}/no/such/file.log: No such file or directory; {HINT}"
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("setting", ["run_dir", "state_dir"])
def test_a_directory_that_cannot_be_made_is_refused_with_what_to_do(write, tmp_path, setting):
    path = write(SITE)
    (said,) = refusal("-c", path, "-d", f"coworker.{setting}={path}/below")
    assert said.startswith(f"{setting} = {path}/below: cannot be made: Not a directory; make it")
    assert f"set {setting} to a directory that can be written" in said


@pytest.mark.parametrize("setting", ["run_dir", "state_dir"])
def test_a_directory_that_cannot_be_written_is_refused_with_what_to_do(shared, setting):
    path = shared / "c.toml"
    path.write_text(SITE)
    (shared / "closed").mkdir(mode=0o555)
    dirs = {"run_dir": shared / "run", "state_dir": shared / "state", setting: shared / "closed"}
    overrides = [word for name, value in dirs.items() for word in ("-d", f"coworker.{name}={value}")]
    (said,) = refusal("-c", path, *overrides, as_nobody=True)
    assert said.startswith(f"{setting} = {shared}/closed: cannot be written by uid ")
    assert f"(chown), or set {setting} to another directory" in said


def test_a_start_that_failed_leaves_nothing_that_hinders_the_next(site, daemon):
    text = settings(site_table(site))
    failed = daemon(text, arguments=["-d", "log.file=/no/such/file"], wait=None)
    assert failed.process.wait(60) == 78
    running = daemon(text, share=failed)
    assert running.stop() == 0
