"""The daemon over HTTP, and hybrid: what the site answers, what the credential may, what is unknown."""

import time

import pytest
from support.daemon import wait_until
from support.tables import settings
from support.ways import reached, token_file

QUIET = (0, None)  # a row as it was before anybody claimed it


@pytest.mark.parametrize("way", ["web", "pipe,web"])
def test_tasks_of_others_than_the_credentials_contact_go_back_and_it_is_said_once(tmp_path, daemon, way):
    with reached(tmp_path, way) as (site, table):
        for contact in (2, 3):
            site.contact(contact, user_id=contact)
        site.queue("a", batch_limit=3)
        own = site.push("a", "empty", run_as=2, times=3)
        others = site.push("a", "empty", run_as=3, times=3)
        system = site.push("a", "empty", times=3)
        running = daemon(settings(table(), count=2), wait=None)
        wait_until(lambda: set(site.ended()) == {*own, *system}, "what can run has run")
        running.event("settled", count=3)
        before = time.time()
        for item in others:
            tries, release = site.rows()[item]
            assert tries == 0
            assert before + 40 < release < before + 70
        errors = running.events("items_refused", level="error")
        assert len(errors) == 1
        assert "contact 3" in errors[0]["reason"]
        assert ("may not do this" in errors[0]["reason"]) is (way == "pipe,web")
        assert {w[3] for w in site.written()} == {
            "2"
        }  # over HTTP the system's tasks are the credential's, too


def test_with_a_trusted_control_pipe_tokens_of_a_few_minutes_serve_other_contacts(tmp_path, daemon):
    with reached(tmp_path, "pipe,web", admins=[2, 3], tokens={}) as (site, table):
        for contact in (2, 3, 4):
            site.contact(contact, user_id=contact)
        site.queue("a", batch_limit=2)
        mine = site.push("a", "empty", run_as=3, times=4)
        system = site.push("a", "empty", times=4)
        forbidden = site.push("a", "empty", run_as=4, times=2)
        running = daemon(settings(table(web_token_file=None, web_contact=2), count=2), wait=None)
        wait_until(lambda: set(site.ended()) == {*mine, *system}, "what can run has run")
        assert {w[1]: w[3] for w in site.written()} == {
            **dict.fromkeys(mine, "3"),
            **dict.fromkeys(system, "2"),
        }
        wait_until(lambda: all(site.rows()[item][0] == 0 for item in forbidden), "given back")
        assert "contact 4" in running.event("items_refused")["reason"]
        assert "may not do this over HTTP (403)" in running.event("items_refused")["reason"]
        log = running.log.read_text()
        assert "jwt." not in log


def test_two_queues_with_work_are_worked_at_the_same_time(tmp_path, daemon):
    with reached(tmp_path, "web") as (site, table):
        items = []
        for queue in ("a", "b"):
            site.queue(queue)
            items += site.push(queue, "empty", times=3)
        running = daemon(settings(table(), count=2), wait=None)
        wait_until(lambda: site.left() == 0, "all of it has run")
        assert sorted(site.started()) == sorted(items)
        assert not running.events("boot_failed")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("503", "is in maintenance or overloaded (HTTP 503: Site is in maintenance mode)"),
        ("401", "refuses the credential (HTTP 401)"),
        ("404", "there is nothing at this address (HTTP 404)"),
        ("page", "answers with a page, not with JSON"),
        ("redirect https://elsewhere.example/", "redirects to https://elsewhere.example/"),
    ],
)
def test_a_site_that_does_not_answer_as_it_should_is_down_and_nothing_is_claimed(
    tmp_path, daemon, fault, says
):
    with reached(tmp_path, "web", http_fault=fault) as (site, table):
        site.queue("a")
        site.push("a", "empty")
        running = daemon(settings(table()), wait="site_down")
        assert says in running.event("site_down")["reason"]
        assert list(site.rows().values()) == [QUIET]
        site.configure(http_fault=None)
        wait_until(lambda: site.left() == 0, "it came back by itself")
        running.event("site_up")


@pytest.mark.parametrize("fault", ["503", "401"])
def test_what_was_surely_not_begun_goes_back_with_its_try(tmp_path, daemon, fault):
    with reached(tmp_path, "web") as (site, table):
        site.queue("a", retry_limit=0)
        (item,) = site.push("a", "empty")
        site.configure(http_fault=fault, http_fault_on="runItems")
        running = daemon(settings(table(), count=1), wait=None)
        assert running.event("settled", item=item)["fate"] == "given_back"
        site.configure(http_fault=None)
        wait_until(lambda: site.left() == 0, "it has run")
        assert site.started() == [item]


@pytest.mark.parametrize("fault", ["502", "500", "page"])
def test_what_may_have_begun_is_looked_at_and_not_given_back(tmp_path, daemon, fault):
    with reached(tmp_path, "web") as (site, table):
        site.queue("a", retry_limit=0, lease_time=300)
        (item,) = site.push("a", "empty")
        site.configure(http_fault=fault, http_fault_on="runItems")
        running = daemon(settings(table(), count=1), wait=None)
        assert running.event("settled", item=item)["fate"] == "unknown"
        tries, release = site.rows()[item]
        assert tries == 1
        assert release > time.time() + 200
        site.configure(http_fault=None)
        site.execute("DELETE FROM civicrm_queue_item")  # as its PHP does when it has come to its end
        assert running.event("settled", count=2, item=item)["fate"] == "finished"
        assert site.started() == []


def test_a_task_that_hangs_over_http_is_ended_for_us_but_not_run_again(tmp_path, daemon, gate):
    with reached(tmp_path, "web") as (site, table):
        site.queue("a", retry_limit=3, lease_time=300)
        (item,) = site.push("a", "hold", str(gate))
        running = daemon(settings(table(), count=1, task_timeout=1), wait=None)
        assert running.event("settled", item=item)["fate"] == "unknown"
        gate.touch()
        wait_until(lambda: site.left() == 0, "it came to its end over there")
        assert running.event("settled", count=2, item=item)["fate"] == "finished"
        assert site.started() == [item]


def test_a_claim_without_an_answer_is_searched_for(tmp_path, daemon):
    with reached(tmp_path, "web") as (site, table):
        site.queue("a", retry_limit=0, lease_time=300)
        site.queue("b")
        (item,) = site.push("a", "empty")
        running = daemon(settings(table(sole_agent=True), count=1), wait="ready")
        site.execute("UPDATE civicrm_queue_item SET release_time = NULL")
        wait_until(lambda: site.left() == 0, "it has run")
        assert site.started() == [item]
        running.stop()


@pytest.mark.parametrize(
    ("token", "mode", "says"),
    [
        (None, 0, "cannot be read: No such file or directory"),
        ("", 0o600, "is missing: the file is empty"),
        ("SEC\x07RET", 0o600, "cannot be used: its character 4 is U+0007"),
    ],
)
def test_a_credential_that_is_not_there(tmp_path, daemon, token, mode, says):
    with reached(tmp_path, "web") as (site, table):
        path = tmp_path / "other"
        if token is not None:
            path.write_text(token)
            path.chmod(mode)
        running = daemon(settings(table(web_token_file=str(path))), wait="site_down")
        assert says in running.event("site_down")["reason"]
        assert says in running.event("unsafe_settings")["reason"]
        assert site.left() == 0
        assert "RET" not in running.log.read_text()


def test_a_credential_from_an_editor_of_windows_is_good(tmp_path, daemon):
    with reached(tmp_path, "web") as (_, table):
        path = token_file(tmp_path)
        path.write_bytes(b"\xef\xbb\xbfSECRET\r\n")
        daemon(settings(table()), wait="ready")


def test_a_credential_that_others_can_read_is_warned_of(tmp_path, daemon):
    with reached(tmp_path, "web") as (_, table):
        path = token_file(tmp_path)
        path.chmod(0o644)
        running = daemon(settings(table()))
        assert f"can be read by others: chmod 600 {path}" in running.event("unsafe_settings")["reason"]
        assert "SECRET" not in running.log.read_text()


def test_a_token_in_the_settings_is_warned_of_and_never_shown(tmp_path, daemon):
    with reached(tmp_path, "web") as (_, table):
        running = daemon(settings(table(web_token_file=None, web_token="SECRET")))
        assert "web_token stands in the settings" in running.event("unsafe_settings")["reason"]
        assert "SECRET" not in running.log.read_text()


def test_a_site_that_says_when_to_come_back_is_asked_then(tmp_path, daemon):
    with reached(tmp_path, "web", http_fault="503", retry_after=30) as (site, table):
        running = daemon(settings(table()), wait="boot_failed")
        assert 25 < running.event("boot_failed")["retry_seconds"] <= 30
        site.configure(retry_after=1)
