"""HUP: new settings come into force without a gap, or not at all."""

import signal
from pathlib import Path

import pytest
from support.daemon import wait_until
from support.evidence import fewest_ready, run_once
from support.processes import wait_gone
from support.tables import settings, site_table

WELCOME = '{"Civi::pipe":{"v":"%s","t":"trusted","l":["login"]}}'


def start(daemon, *tables, count=2, **more):
    """A daemon of these sites, all its workers ready."""
    running = daemon(settings(*tables, count=count), **more)
    running.event("ready", count=len(tables) * (1 + count))
    return running


def hup(running, text=None):
    """Change the file, if so asked, and reload."""
    if text is not None:
        running.configure(text)
    running.send(signal.SIGHUP)


def assert_goes_on(running, site, pids):
    """The same processes as before run tasks."""
    assert set(running.titles()) == pids
    ids = site.push("a", "empty", times=4)
    wait_until(lambda: not site.rows().keys() & set(ids), "the end of the tasks")
    assert set(running.titles()) == pids


def wait_for_roll(running, old):
    """Wait until none of these processes is left."""
    wait_until(lambda: not set(running.titles()) & set(old), "the end of the old generation")


# --- good ones ---


def test_the_same_file_replaces_all_workers_without_ever_having_fewer_than_count(site, daemon):
    running = start(daemon, site_table(site), count=3)
    old = running.titles()
    hup(running)
    running.event("reloaded")
    wait_for_roll(running, old)
    running.event("ready", count=8)
    assert len(running.workers()) == 3
    events = running.events()
    assert fewest_ready(events, 3) == 3
    names = [event["event"] for event in events]
    canary = names.index("ready", names.index("reloading"))
    assert canary < names.index("reloaded") < names.index("retiring")


def test_a_changed_count_and_interval_come_into_force(site, daemon):
    site.queue("a")
    running = start(daemon, site_table(site, poll_interval=3600, poll_interval_max=3600), count=1)
    hup(running, settings(site_table(site), count=3))
    running.event("ready", count=6)
    wait_until(lambda: len(running.workers()) == 3, "three workers")
    ids = site.push("a", "empty", times=5)
    wait_until(lambda: site.left() == 0, "the tasks, found by the new interval")
    assert run_once(site, ids)


def test_what_the_command_line_says_outlives_a_reload(site, daemon):
    text = settings(site_table(site), count=1)
    running = daemon(text, arguments=["-d", "workers.count=2"])
    running.event("ready", count=3)
    old = running.titles()
    hup(running)
    wait_for_roll(running, old)
    running.event("ready", count=6)
    assert len(running.workers()) == 2


def test_a_reload_under_load_loses_nothing_and_runs_nothing_twice(site, daemon):
    site.queue("a", batch_limit=3)
    site.queue("b")
    ids = site.push("a", "nap", 0.005, times=150) + site.push("b", "nap", 0.005, times=150)
    running = start(daemon, site_table(site))
    for number in range(3):
        hup(running)
        running.event("reloaded", count=number + 1)
        running.event("gone", count=3 * number + 1, reason="reload")
    wait_until(lambda: site.left() == 0, "the end of all tasks")
    assert run_once(site, ids)
    assert fewest_ready(running.events(), 2) == 2


def test_the_worker_with_a_long_task_rolls_last_and_the_others_take_tasks_meanwhile(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site_table(site), count=3)
    wait_until(site.started, "the start of the long task")
    (busy,) = [pid for pid in running.workers() if str(running.pipe_of(pid)) == site.written()[0][4]]
    hup(running)
    running.event("retiring", pid=busy)
    assert [e["pid"] for e in running.events("retiring", reason="reload") if "worker" in e][-1] == busy
    site.push("a", "empty", times=20)
    wait_until(lambda: site.rows().keys() == set(held), "the short tasks")
    assert busy in running.workers()
    gate.touch()
    assert running.event("gone", pid=busy)["reason"] == "reload"
    assert site.ended()[-1:] == held
    assert fewest_ready(running.events(), 3) == 3


def test_a_second_hup_while_the_first_is_tried_wins(site, daemon):
    running = start(daemon, site_table(site), count=1)
    hup(running, settings(site_table("sleep 600"), count=4))
    running.event("reloading")
    hup(running, settings(site_table(site), count=2))
    assert "another HUP" in running.event("reload_failed")["reason"]
    running.event("reloaded")
    wait_until(lambda: len(running.workers()) == 2, "two workers")
    assert len(running.events("reloaded")) == 1


def test_a_second_hup_with_a_bad_file_leaves_the_first_one_under_way(site, daemon, gate):
    running = start(daemon, site_table(site), count=1)
    waits = f"while [ ! -e {gate} ]; do sleep 0.05; done; {site.command()}"
    hup(running, settings(site_table(waits), count=2))
    running.event("reloading")
    hup(running, b"[")
    running.event("reload_refused")
    gate.touch()
    running.event("reloaded")
    wait_until(lambda: len(running.workers()) == 2, "two workers")
    assert not running.events("reload_failed")


def test_many_hups_at_once_end_in_one_set_of_new_workers(site, daemon):
    site.queue("a")
    running = start(daemon, site_table(site))
    old = running.titles()
    for _ in range(20):
        hup(running)
    running.event("reloaded")
    wait_for_roll(running, old)
    hup(running, settings(site_table(site), count=1))
    wait_until(lambda: len(running.workers()) == 1, "one worker")
    ids = site.push("a", "empty", times=4)
    wait_until(lambda: site.left() == 0, "the tasks")
    assert run_once(site, ids)


def test_new_log_settings_come_into_force(site, daemon, tmp_path):
    running = start(daemon, site_table(site))
    new = tmp_path / "new.log"
    text = running.file.read_text().replace(str(running.log), str(new)).replace('"debug"', '"notice"')
    running.file.write_text(text)
    running.send(signal.SIGHUP)
    running.event("reloading")
    wait_until(lambda: new.exists() and "reloaded" in new.read_text(), "a line in the new file")
    assert running.stop() == 0
    assert running.events("stopped") == []
    assert "stopped" in new.read_text()
    assert '"info"' not in new.read_text()


def test_a_setting_that_needs_a_restart_is_named(site, daemon, tmp_path):
    running = start(daemon, site_table(site))
    running.file.write_text(running.file.read_text().replace('/run"', '/elsewhere"'))
    running.send(signal.SIGHUP)
    assert running.event("restart_needed")["setting"] == "coworker.run_dir"
    assert running.event("reloaded")


# --- refused ones ---


def test_a_refused_file_changes_nothing_and_its_repair_is_taken(site, daemon):
    site.queue("a")
    running = start(daemon, site_table(site))
    pids = set(running.titles())
    good = running.file.read_text()
    cases = {
        "syntax": (good + "\n[logs\n", "expected ']'"),
        "unknown key": (good.replace("count", "cuont"), 'did you mean "count"?'),
        "out of range": (good.replace("count = 2", "count = 0"), "out of range"),
        "no site": ("", "no site"),
        "not UTF-8": (b"\xff", "UTF-8"),
    }
    for number, (text, reason) in enumerate(cases.values()):
        hup(running, text if isinstance(text, bytes) else text.encode())
        assert reason in running.event("reload_refused", count=number + 1)["reason"]
    running.file.unlink()
    hup(running)
    assert "no such file" in running.event("reload_refused", count=len(cases) + 1)["reason"]
    assert_goes_on(running, site, pids)
    hup(running, good.encode())
    running.event("reloaded")
    wait_for_roll(running, pids)


PIPES = {
    "is not found": ("no-such-command-anywhere", "no-such-command-anywhere"),
    "dies": ("echo last words >&2; exit 3", "exit status 3"),
    "never says hello": ("cat >&2", "no welcome in time"),
    "prints garbage": ("echo garbage; cat >&2", "welcome"),
    "is too old": (f"echo '{WELCOME % '5.0'}'; cat >&2", "5.51"),
}


@pytest.mark.parametrize(("pipe", "reason"), PIPES.values(), ids=PIPES)
def test_a_pipe_command_that_fails_leaves_the_old_workers_at_work(site, daemon, pipe, reason):
    site.queue("a")
    running = start(daemon, site_table(site), count=1)
    pids, processes = set(running.titles()), set(running.tree())
    hup(running, settings(site_table(pipe), count=1, boot_timeout=0.5))
    assert reason in running.event("reload_failed")["reason"]
    wait_until(lambda: set(running.tree()) == processes, "the end of the canary and its pipe")
    assert_goes_on(running, site, pids)
    hup(running, settings(site_table(site), count=1))
    running.event("reloaded")
    wait_for_roll(running, pids)
    assert running.events("site_down") == []


def test_an_untrusted_pipe_is_refused(site, daemon):
    site.queue("a")
    running = start(daemon, site_table(site))
    pids = set(running.titles())
    hup(running, settings(site_table(site.command(flags="vul"))))
    assert "trust" in running.event("reload_failed")["reason"]
    wait_until(lambda: len(running.titles()) == len(pids), "the end of the canary")
    assert_goes_on(running, site, pids)


def test_reloads_leave_no_descriptors_open(site, daemon):
    running = start(daemon, site_table(site), count=1)
    good, bad = running.file.read_bytes(), settings(site_table("exit 3"), count=1)

    def count_open():
        return len(list(Path(f"/proc/{running.pid}/fd").iterdir()))

    before = count_open()
    for number in range(30):
        hup(running, b"[")
        running.event("reload_refused", count=number + 1)
    for number in range(5):
        hup(running, bad)
        running.event("reload_failed", count=number + 1)
        hup(running, good)
        running.event("reloaded", count=number + 1)
    wait_until(lambda: count_open() == before, f"{before} descriptors, not {count_open()}")


# --- stop and reload ---


def test_a_removed_site_has_time_to_settle_what_it_leaves(site, other, daemon, gate):
    site.queue("a", batch_limit=3, retry_limit=1)
    ids = site.push("a", "hold", str(gate), times=3)
    running = daemon(settings(site_table(site), site_table(other, "other"), count=1))
    wait_until(site.started, "the batch runs")
    site.execute("ALTER TABLE civicrm_queue_item RENAME TO hidden")
    running.configure(settings(site_table(other, "other"), count=1))
    running.send(signal.SIGHUP)
    running.event("reloaded", sites="other")
    gate.touch()
    running.event("pipe_lost", queue="a")
    running.event("boot_failed", site="example", failures=4)  # more than two seconds after the first one
    site.execute("ALTER TABLE hidden RENAME TO civicrm_queue_item")
    running.event("settled", count=3, site="example")
    assert [site.rows()[item] for item in ids[1:]] == [(0, None)] * 2
    running.event("gone", site="example", role="control", reason="shutdown")
    assert not running.events("claim_left_open")


def test_term_while_a_reload_is_tried_stops_everything(site, daemon):
    running = start(daemon, site_table(site))
    hup(running, settings(site_table("trap '' TERM; sleep 600; sleep 600")))
    running.event("reloading")
    wait_until(lambda: len(running.titles()) == 4, "the canary")
    processes = running.tree()
    assert running.stop() == 0
    wait_gone(processes)


def test_term_while_workers_roll_stops_everything_and_tasks_finish(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site_table(site), count=3)
    wait_until(site.started, "the start of the task")
    hup(running)
    running.event("reloaded")
    processes = running.tree()
    running.send(signal.SIGTERM)
    running.event("stopping")
    gate.touch()
    assert running.process.wait(60) == 0
    wait_gone(processes)
    assert site.ended() == held


def test_hup_while_the_daemon_stops_is_ignored(site, daemon, gate):
    site.queue("a")
    held = site.push("a", "hold", str(gate))
    running = start(daemon, site_table(site))
    wait_until(site.started, "the start of the task")
    running.send(signal.SIGTERM)
    running.event("stopping")
    running.send(signal.SIGHUP)
    gate.touch()
    assert running.process.wait(60) == 0
    assert site.ended() == held
    assert running.events("reloading") == []


def test_kill_while_a_reload_is_tried_leaves_no_process(site, daemon):
    running = start(daemon, site_table(site))
    hup(running, settings(site_table("sleep 600")))
    wait_until(lambda: len(running.titles()) == 4, "the canary")
    processes = running.tree()
    running.stop(signal.SIGKILL)
    wait_gone(processes, seconds=5)
