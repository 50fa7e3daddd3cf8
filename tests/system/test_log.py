"""What the log and the process titles tell."""

import json
import re
import signal

import psutil
from support.daemon import wait_until
from support.tables import settings, site_table

SECRET = "a-secret-of-the-environment"
LEVELS = {"debug", "info", "notice", "warning", "error", "critical"}


def raw_lines(running):
    return running.log.read_text().splitlines()


# --- the log ---


def test_every_line_is_one_json_object_with_event_level_and_time(site, daemon):
    site.queue("a", retry_limit=1)
    site.push("a", "empty", times=3)
    site.push("a", "fail")
    site.push("a", "shout", 'two\nlines, "quoted" ☃')
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.left() == 0, "the tasks")
    running.send(signal.SIGHUP)
    running.event("gone", reason="reload")
    assert running.stop() == 0
    for line in raw_lines(running):
        fields = json.loads(line)
        assert re.fullmatch(r"[a-z][a-z_]*", fields["event"])
        assert fields["level"] in LEVELS
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", fields["timestamp"])
        assert None not in fields.values()


def test_lines_about_a_task_name_site_worker_pid_queue_item_identity_outcome_and_seconds(site, daemon):
    site.queue("a")
    site.contact(100, 7)
    site.contact(101, 8)
    (item,) = site.push("a", "nap", 0.05, run_as=100)
    running = daemon(settings(site_table(site, "example")))
    done = running.event("task_done")
    assert {key: done[key] for key in ("site", "queue", "item", "identity", "outcome")} == {
        "site": "example",
        "queue": "a",
        "item": item,
        "identity": "contact 100, domain 1",
        "outcome": "ok",
    }
    assert done["worker"] == 1
    assert done["pid"] in running.workers()
    assert 0.05 <= done["seconds"] < 5


def test_lines_about_a_child_name_its_site_its_role_and_its_pid(site, daemon):
    running = daemon(settings(site_table(site), count=2))
    running.event("ready", count=3)
    ready = running.events("ready")
    assert {e["pid"] for e in ready} == set(running.titles())
    assert {e["site"] for e in ready} == {"example"}
    assert sorted(e.get("role") or e["worker"] for e in ready if "worker" in e) == [1, 2]
    assert [e["role"] for e in ready if "worker" not in e] == ["control"]


def test_a_task_that_fails_is_logged_louder_than_one_that_does_not(site, daemon):
    site.queue("a")
    site.push("a", "empty")
    site.push("a", "fail")
    running = daemon(settings(site_table(site), count=1))
    assert running.event("task_done", outcome="ok")["level"] == "debug"
    assert running.event("task_done", outcome="delete")["level"] == "warning"


def test_what_a_task_prints_is_logged_with_its_name(site, daemon):
    site.queue("a")
    (item,) = site.push("a", "shout", "hello from the task")
    running = daemon(settings(site_table(site), count=1))
    printed = running.event("task_printed")
    assert (printed["queue"], printed["items"]) == ("a", item)
    assert "hello from the task" in printed["text"]


def test_any_byte_that_a_pipe_writes_at_its_boot_is_only_text(daemon):
    noise = r"printf '\001\033[31m\377\000\342\200\256last words' >&2; exit 3"
    running = daemon(settings(site_table(noise), count=1), wait=None)
    assert r"stderr: \x01\x1b[31m�\x00\u202elast words" in running.event("boot_failed")["reason"]
    running.event("site_down")  # which is in the title of the master, too
    assert running.stop() == 0
    assert running.events("master_crashed") == []


def test_any_name_of_a_queue_and_any_word_of_a_task_is_only_text(site, daemon):
    name = "a\x1b[31m\u202eb"
    site.queue(name)
    site.push(name, "shout", "".join(map(chr, range(256))) + "\u202e")
    running = daemon(settings(site_table(site), count=1))
    printed = running.event("task_printed")
    assert printed["queue"] == r"a\x1b[31m\u202eb"
    assert r"\x00\x01" in printed["text"]
    wait_until(lambda: site.left() == 0, "the task")
    assert running.stop() == 0
    assert running.events("child_crashed") == []


def test_looking_is_silent(site, daemon):
    site.queue("a")
    site.push("a", "empty", times=3)
    running = daemon(settings(site_table(site), count=1))
    wait_until(lambda: site.left() == 0, "the tasks")
    assert running.stop() == 0
    assert running.events("looked") == []


def test_looking_is_logged_if_asked_for(site, daemon):
    running = daemon(settings(site_table(site), log={"looking": True}), arguments=["-d", "log.level=info"])
    assert running.event("looked", count=3)["level"] == "info"


def test_lines_below_the_level_are_left_out(site, daemon):
    site.queue("a")
    site.push("a", "empty", times=3)
    running = daemon(
        settings(site_table(site), count=1), arguments=["-d", "log.level=notice"], wait="started"
    )
    wait_until(lambda: site.left() == 0, "the tasks")
    assert running.stop() == 0
    assert {e["level"] for e in running.events()} == {"notice"}


def test_nothing_of_the_environment_is_logged(site, daemon):
    site.queue("a")
    site.push("a", "empty")
    site.push("a", "crash")
    text = settings(site_table(site), site_table("echo no >&2; exit 3", "broken"))
    running = daemon(text, environment={"SITE_PASSWORD": SECRET, "CIVICRM_KEY": SECRET})
    running.event("site_down")
    running.event("settled")
    running.send(signal.SIGHUP)
    running.event("reloaded")
    assert running.stop() == 0
    assert SECRET not in running.log.read_text()
    assert SECRET not in running.error.read_text()


def test_text_is_one_line_an_event_and_has_no_colour_in_a_file(site, daemon):
    site.queue("a")
    site.push("a", "shout", "two\nlines")
    running = daemon(settings(site_table(site), count=1), arguments=["-d", "log.format=text"], wait=None)
    wait_until(lambda: running.log.exists() and "task_printed" in running.log.read_text(), "a line")
    assert running.stop() == 0
    for line in raw_lines(running):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d \[(\w+) *\] [a-z_]+( |$)", line), line
    assert "\x1b" not in running.log.read_text()


# --- process titles ---


def title(pid):
    return " ".join(psutil.Process(pid).cmdline()).rstrip("\0 ")


def test_the_master_shows_its_settings_file(site, daemon):
    running = daemon(settings(site_table(site), count=1))
    assert title(running.pid) == f"coworker: master [{running.file}]"


def test_control_shows_its_site_and_how_many_queues_have_work(site, daemon, gate):
    running = daemon(settings(site_table(site), count=1))
    running.event("ready", count=2)
    pid = running.control()
    wait_until(lambda: title(pid) == "coworker: control  example", "a title without queues")
    for queue in ("a", "b", "c"):
        site.queue(queue)
        site.push(queue, "hold", str(gate), times=2)
    wait_until(
        lambda: title(pid) in (f"coworker: control  example  {n} queues with work" for n in (2, 3)), "work"
    )
    gate.touch()
    wait_until(lambda: title(pid) == "coworker: control  example", "a title without queues")


def test_a_worker_shows_its_number_site_identity_queue_and_how_many_it_has_done(site, daemon, gate):
    site.queue("import/1234abcd")
    site.contact(100, 7)
    running = daemon(settings(site_table(site), count=1))
    running.event("ready", count=2)
    (pid,) = running.workers()
    assert title(pid) == "coworker: worker 1 example"
    site.push("import/1234abcd", "empty", times=3, run_as=100)
    who = "coworker: worker 1 example  contact 100, domain 1"
    wait_until(lambda: title(pid) == f"{who} (3 done)", "a title with the count")
    site.push("import/1234abcd", "hold", str(gate), run_as=100)
    wait_until(lambda: title(pid) == f"{who}   import/1234abcd (3 done)", "a title with the queue")
    gate.touch()
    wait_until(lambda: title(pid) == f"{who} (4 done)", "a title with the new count")


def test_a_child_that_boots_says_so(daemon):
    running = daemon(settings(site_table("sleep 600"), count=1), wait="started")
    wait_until(lambda: "coworker: worker 1 example  booting" in running.titles().values(), "the title")
