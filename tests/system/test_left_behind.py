"""What a task leaves behind in its process is not found by the next one, and the log names it (rule 16)."""

import json

import pytest
from support.daemon import wait_until
from support.evidence import outcomes, run_once
from support.php_site import PhpSite
from support.tables import settings, site_table

UNRUN = {"retry_limit": 0, "error": "delete"}  # whatever fails is deleted
MANY = 20  # of a batch

# what: PHP that changes it, PHP that shows it
SETTINGS = {
    "time_limit": ("set_time_limit(77);", "ini_get('max_execution_time')"),
    "memory_limit": ("ini_set('memory_limit', '777M');", "ini_get('memory_limit')"),
    "directory": ("chdir('/');", "getcwd()"),
    "umask": ("umask(0077);", "umask()"),
    "error_level": ("error_reporting(0);", "error_reporting()"),
    "display_errors": ("ini_set('display_errors', '0');", "ini_get('display_errors')"),
    "time_zone": ("date_default_timezone_set('Asia/Tokyo');", "date_default_timezone_get()"),
    "locale": ("setlocale(LC_ALL, 'C.UTF-8') ?: setlocale(LC_ALL, 'POSIX');", "setlocale(LC_ALL, '0')"),
}
SHOW = f"return [{', '.join(show for _, show in SETTINGS.values())}];"


@pytest.fixture
def php(tmp_path):
    site = PhpSite(tmp_path / "php")
    site.queue("a", batch_limit=MANY, **UNRUN)
    return site


@pytest.fixture
def serve(php, daemon):
    """A function that works the site with one worker until nothing is left."""

    def start(*, left=0, remote=None, **more):
        table = site_table("MINIPIPE vtl", cwd=str(php.root), remote=remote)
        running = daemon(settings(table, count=1), **more)
        wait_until(lambda: php.left() == left, "all items gone")
        return running

    return start


def returned(php):
    """{item: what its `php` task returned}."""
    return {
        words[1]: json.loads(" ".join(words[5:]))
        for words in php.written()
        if words[0] == "end" and words[5:]
    }


def pids(php):
    """The pipes that ran something, in order."""
    return list(dict.fromkeys(words[4] for words in php.written()))


def ok(running, count):
    running.event("task_done", count=count)
    return {outcome for found in outcomes(running.events("task_done")).values() for outcome in found} == {
        "ok"
    }


# --- settings ---


def test_the_time_limit_of_one_task_does_not_kill_another(php, serve):
    (limited,) = php.push("a", "php", "set_time_limit(1);")
    ids = php.push("a", "burn", 1.3)
    running = serve()
    assert run_once(php, [limited, *ids])
    assert ok(running, 2)
    assert not running.events("pipe_lost")
    left = running.event("task_left", what="time_limit")
    assert (left["item"], left["callback"], left["level"]) == (limited, "php:php", "notice")
    assert left["text"] == "time_limit is '1', was '0': set back"


@pytest.mark.parametrize("how", ["returns", "fails"])
def test_each_task_finds_the_settings_that_the_first_one_found(php, serve, how):
    change = "".join(change for change, _ in SETTINGS.values())
    end = {"returns": "return 1;", "fails": "throw new Exception('no luck');"}[how]
    (before,) = php.push("a", "php", SHOW)
    (changes,) = php.push("a", "php", change + end)
    (after,) = php.push("a", "php", SHOW)
    running = serve()
    running.event("task_done", count=3)
    found = returned(php)
    assert found[before] == found[after]
    assert (found[before][0], found[before][2]) == ("0", str(php.root))
    told = {event["what"]: event["item"] for event in running.events("task_left")}
    assert set(told.values()) == {changes}
    # Where the locale was C already, to set it changes nothing.
    assert set(SETTINGS) - {"locale"} <= set(told)
    assert len(pids(php)) == 1


def test_what_one_callback_leaves_is_said_once_in_a_process(php, serve):
    php.push("a", "php", "umask(0077);", times=3)
    php.push("a", "php", "umask(0077); chdir('/');")
    running = serve()
    assert ok(running, 4)
    assert [event["what"] for event in running.events("task_left")] == ["umask", "directory"]


def test_a_memory_limit_that_is_below_what_is_in_use_stays_and_its_task_is_named(php, serve):
    (php.directory / "little.ini").write_text("memory_limit = 64M\n")
    (raises,) = php.push(
        "a", "php", "ini_set('memory_limit', '256M'); self::$kept[] = str_repeat('x', 80 << 20);"
    )
    ids = php.push("a", "php", "return ini_get('memory_limit');", times=2)
    (frees,) = php.push("a", "php", "self::$kept = []; gc_mem_caches();")
    ids += php.push("a", "php", "return ini_get('memory_limit');")
    running = serve(environment={"PHP_INI_SCAN_DIR": f":{php.directory}"})
    assert ok(running, 5)
    found = returned(php)
    assert [found[item] for item in ids] == ["256M", "256M", "64M"]
    (left,) = running.events("task_left")
    assert (left["item"], left["level"]) == (raises, "warning")
    assert left["text"] == "memory_limit is '256M', was '64M': cannot be set back"
    assert frees in php.ended()


def test_a_directory_that_is_gone_cannot_be_set_back_until_it_is_there_again(php, serve):
    gone = f"{php.root}.gone"
    (removes,) = php.push("a", "php", f"rename('{php.root}', '{gone}'); chdir('/');")
    php.push("a", "php", f"rename('{gone}', '{php.root}');")
    (after,) = php.push("a", "php", "return getcwd();")
    running = serve()
    assert ok(running, 3)
    assert returned(php)[after] == str(php.root)
    (left,) = running.events("task_left")
    assert (left["item"], left["what"], left["level"]) == (removes, "directory", "warning")


def test_a_login_brings_its_own_time_zone(php, serve):
    php.contact(100, user_id=7)
    php.configure(contact_zone="Pacific/Auckland")
    ids = php.push("a", "php", "return date_default_timezone_get();", run_as=100, times=2)
    php.push("a", "php", "date_default_timezone_set('UTC');", run_as=100)
    ids += php.push("a", "php", "return date_default_timezone_get();", run_as=100)
    running = serve()
    assert ok(running, 4)
    found = returned(php)
    assert {found[item] for item in ids} == {"Pacific/Auckland"}
    assert running.event("task_left", what="time_zone")["identity"] == "contact 100, domain 1"


# --- output buffers ---


def test_output_buffers_that_are_left_open_are_ended_and_what_is_in_them_is_noise(php, serve):
    (opens,) = php.push("a", "php", "ob_start(); echo 'outer '; ob_start(); echo 'inner';")
    (level,) = php.push("a", "php", "return ob_get_level();")
    running = serve()
    assert ok(running, 2)
    assert returned(php)[level] == 0
    left = running.event("task_left")
    assert (left["item"], left["what"], left["level"]) == (opens, "output_buffer", "warning")
    assert left["text"] == "2 output buffer(s) open: ended"
    assert "outer inner" in running.event("task_printed")["text"]


# --- transactions ---


@pytest.mark.parametrize("levels", [1, 2])
def test_a_transaction_that_is_left_open_is_rolled_back_and_its_task_has_failed(php, serve, levels):
    php.contact(100)
    (opens,) = php.push("a", "leave_open", levels)
    rest = php.push("a", "empty", times=3)
    running = serve()
    done = running.event("task_done", item=opens)
    assert (done["outcome"], done["callback"]) == ("delete", "php:leave_open")
    assert done["error"] == "CRM_Core_Exception: The task has left a transaction open: rolled back"
    left = running.event("task_left")
    assert (left["item"], left["what"], left["level"]) == (opens, "transaction", "error")
    assert php.execute("SELECT is_blocked FROM civicrm_contact WHERE id = 100") == [(0,)]
    assert run_once(php, [opens, *rest])  # and what the others did was committed
    # It works until another has booted, then that one takes its place.
    assert running.event("gone", reason="left_behind")["status"] == "exit status 0"
    assert not running.events("pipe_lost")


def test_the_queue_decides_whether_what_left_a_transaction_open_is_tried_again(php, serve):
    php.queue("b", retry_limit=1, retry_interval=0, error="abort")
    (opens,) = php.push("b", "leave_open", 1)
    running = serve(left=1)
    running.event("task_done", count=2)
    assert outcomes(running.events("task_done")) == {opens: ["retry", "abort"]}


@pytest.mark.parametrize(("task", "error"), [
    (("leave_open", 1, True), "RuntimeException: in the midst of it"),
    (("drop_open",), "RuntimeException: with the transaction in its trace"),
])  # fmt: skip
def test_a_task_that_fails_with_a_transaction_open_fails_and_the_rest_of_its_batch_runs(
    php, serve, task, error
):
    php.contact(100)
    (opens,) = php.push("a", *task)
    rest = php.push("a", "empty", times=3)
    running = serve()
    text = (
        f"CRM_Core_Exception: The task has left a transaction open: rolled back; it had failed with {error}"
    )
    assert running.event("task_done", item=opens)["error"] == text
    assert php.execute("SELECT is_blocked FROM civicrm_contact WHERE id = 100") == [(0,)]
    assert php.ended() == rest
    assert len(running.events("task_done", outcome="ok")) == 3


# --- identity ---


def test_after_a_task_that_logs_somebody_else_in_the_rest_runs_as_before_and_the_pipe_goes(php, serve):
    (changes,) = php.push("a", "php", "CRM_Core_Session::singleton()->set('userID', 5);")
    ids = php.push("a", "empty", times=3)
    running = serve()
    assert run_once(php, [changes, *ids])
    assert {words[3] for words in php.written()} == {"system"}
    left = running.event("task_left")
    assert (left["item"], left["what"], left["level"]) == (changes, "identity", "error")
    assert left["text"] == "somebody else logged in: set back"
    assert running.event("pipe_lost")["cause"] == "left_behind"
    (more,) = php.push("a", "empty")
    running.event("task_done", item=more)
    assert len(pids(php)) == 2


def test_where_the_user_cannot_be_set_back_the_rest_goes_to_another_pipe_with_its_try(php, serve):
    (changes,) = php.push("a", "php", "Fake::$user = 7;")
    ids = php.push("a", "empty", times=3)
    running = serve()
    assert run_once(php, [changes, *ids])
    assert running.event("task_left")["text"] == "somebody else logged in: no other task is called"
    lost = running.event("pipe_lost")
    assert lost["cause"] == "left_behind"
    assert "has changed who is logged in" in lost["reason"]
    running.event("settled", count=4)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates == {changes: "finished", **dict.fromkeys(ids, "given_back")}
    assert len(pids(php)) == 2
    assert not running.events("poisoned")


def test_a_contact_that_was_logged_in_is_logged_in_again(php, serve):
    php.contact(100, user_id=7)
    (changes,) = php.push("a", "php", "CRM_Core_Session::singleton()->set('userID', null);", run_as=100)
    ids = php.push("a", "empty", times=2, run_as=100)
    running = serve()
    assert ok(running, 3)
    assert run_once(php, [changes, *ids])
    assert {words[3] for words in php.written()} == {"100"}
    assert running.event("task_left", what="identity")["identity"] == "contact 100, domain 1"


def test_a_remote_pipe_that_notes_nothing_is_left_before_anything_else_is_sent(php, serve):
    (changes,) = php.push("a", "php", "Fake::$user = 7;")
    ids = php.push("a", "empty", times=2)
    running = serve(remote=True)
    assert run_once(php, [changes, *ids])
    lost = running.event("pipe_lost")
    assert lost["cause"] == "left_behind"
    assert (
        "(php:php) has left somebody else logged in: no other task is called (exit status 0)"
        in lost["reason"]
    )
    assert len(pids(php)) == 2


# --- siblings ---


def test_a_task_after_one_that_left_much_behind_pays_for_its_own_end_only(php, serve):
    php.push("a", "php", "set_time_limit(1); ob_start(); umask(0);")
    (fatal,) = php.push("a", "fatal")
    ids = php.push("a", "empty", times=2)
    running = serve()
    running.event("settled", count=4)
    fates = {event["item"]: event["fate"] for event in running.events("settled")}
    assert fates[fatal] == "try_counted"
    assert [fates[item] for item in ids] == ["given_back"] * 2
    assert set(ids) <= set(php.ended())


def test_a_task_that_runs_others_keeps_its_settings_and_its_transaction(php, serve):
    php.queue("inner", status="draft", **UNRUN)
    php.push("inner", "php", "return [ini_get('memory_limit'), CRM_Core_Transaction::isActive()];")
    nest = (
        "ini_set('memory_limit', '777M'); $open = new CRM_Core_Transaction();"
        "civicrm_api4('Queue', 'runItems', ['items' => [['id' => '1', 'queue' => 'inner']]]);"
        "return [ini_get('memory_limit'), CRM_Core_Transaction::isActive()];"
    )
    (outer,) = php.push("a", "php", nest)
    running = serve()
    assert ok(running, 1)
    assert returned(php) == {"1": ["777M", True], outer: ["777M", True]}
    assert [event["what"] for event in running.events("task_left")] == ["memory_limit"]
