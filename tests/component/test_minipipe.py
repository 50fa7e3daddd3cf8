"""The bundled PHP adapter against a PHP site in the layout of each CMS."""

import json
import os
import subprocess
import time

import pytest
from support.php_site import LAYOUTS, PhpSite, need

from coworker.civi.detect import NoSiteError, detect
from coworker.civi.launch import ADAPTER

CALLS = [
    ["Queue", "claimItems", {"queue": "a", "select": ["id", "queue", "run_as"], "checkPermissions": False}],
    ["Queue", "runItems", {"items": [{"id": "1", "queue": "a"}], "checkPermissions": False}],
]


def minipipe(directory, *arguments, calls=(), lines=(), php="php", **environ):
    """Run it in that directory; returns (status, stdout lines, stderr)."""
    requests = [
        json.dumps({"jsonrpc": "2.0", "method": "api4", "params": call, "id": n})
        for n, call in enumerate(calls, 1)
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CIVICRM_", "HTTP_HOST"))}
    done = subprocess.run(
        [php, str(ADAPTER), *arguments],
        cwd=directory,
        env={**env, "PWD": str(directory), **environ},
        input="".join(f"{line}\n" for line in [*requests, *lines]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_boots_every_cms_and_serves_tasks(tmp_path, layout):
    site = PhpSite(tmp_path, layout)
    site.queue("a")
    site.push("a", "empty")
    inside = site.root / "some/folder"
    inside.mkdir(parents=True)
    status, lines, stderr = minipipe(inside, calls=CALLS)
    assert (status, stderr) == (0, "")
    assert json.loads(lines[0])["Civi::pipe"] == {"v": "6.13.3", "t": "trusted", "l": ["login"]}
    assert json.loads(lines[2])["result"][0]["outcome"] == "ok"
    assert site.ended() == ["1"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_daemon_and_the_adapter_find_the_same_site(tmp_path, layout):
    site = PhpSite(tmp_path, layout)
    web = tmp_path / "project/web"
    web.parent.mkdir()
    web.symlink_to(site.root)
    for start, root in ((site.root, site.root), (web, web), (web.parent, web)):
        _, (line,), _ = minipipe(start, "--probe")
        found = detect(start, {})
        assert json.loads(line)["root"] == str(found.root) == str(found.cwd) == str(root)
        assert found.settings == (root / site.settings_file.relative_to(site.root),)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_probe_is_one_line_of_facts(tmp_path, layout):
    site = PhpSite(tmp_path, layout, database_version="6.12.0", environment="Staging")
    status, (line,), _ = minipipe(site.root, "--probe")
    facts = json.loads(line)
    assert status == 0
    assert (facts["root"], facts["civicrm"], facts["database_version"]) == (
        str(site.root),
        "6.13.3",
        "6.12.0",
    )
    assert (facts["upgrade_pending"], facts["environment"], facts["maintenance"]) == (True, "Staging", False)
    assert facts["domains"] == {"1": "Test"}
    assert facts["grants"] == ["GRANT ALL PRIVILEGES ON *.*"]


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"standalone"}))
def test_a_site_whose_civicrm_is_disabled(tmp_path, layout):
    site = PhpSite(tmp_path, layout, enabled=False)
    status, lines, stderr = minipipe(site.root)
    assert (status, lines) == (13, [])
    assert stderr.splitlines()[-1].startswith("MINIPIPE: CiviCRM is not enabled in the ")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"boot_fatal": True}, "Call to undefined function the_function_that_is_not_there()"),
        (
            {"boot_exit": 0, "boot_output": "<h1>No database</h1>"},
            "it ended the process and said: No database",
        ),
        ({"store": "/nowhere/site.db"}, "Unable to open database"),
    ],
)
def test_a_boot_that_fails_says_why_on_one_line(tmp_path, config, says):
    site = PhpSite(tmp_path, **config)
    status, lines, stderr = minipipe(site.root)
    assert (status, lines) == (14, [])
    last = stderr.splitlines()[-1]
    assert last.startswith(f"MINIPIPE: the WordPress site in {site.root} does not boot: ")
    assert says in last


def test_of_a_page_only_the_gist_is_told_and_once(tmp_path):
    page = (
        "<!DOCTYPE html><html><head><title>Site &amp; Error</title><style>p { color: red }</style></head>"
        "<body><h1>Error establishing a database connection.</h1> <p>Are you sure?</p></body></html>"
    )
    site = PhpSite(tmp_path, boot_exit=0, boot_output=page)
    _, _, stderr = minipipe(site.root)
    assert stderr.strip() == (
        f"MINIPIPE: the WordPress site in {site.root} does not boot: it ended the process and said: "
        "Site & Error: Error establishing a database connection."
    )


def test_wordpress_is_told_to_print_no_page_of_its_own(tmp_path):
    site = PhpSite(tmp_path)
    with (site.root / "wp-load.php").open("a") as file:
        file.write("\nif (WP_DISABLE_FATAL_ERROR_HANDLER !== true) { exit('it is not'); }\n")
    assert minipipe(site.root)[0] == 0


def test_what_the_site_prints_while_it_boots_goes_to_stderr(tmp_path):
    site = PhpSite(tmp_path, boot_output="hello", boot_notice=True)
    status, lines, stderr = minipipe(site.root)
    assert (status, len(lines)) == (0, 1)
    assert "hello" in stderr
    assert "Undefined variable" in stderr


def test_no_site_tells_where_it_searched(tmp_path):
    need("php")
    status, lines, stderr = minipipe(tmp_path)
    assert (status, lines) == (12, [])
    assert stderr.startswith(f"MINIPIPE: no CiviCRM site found in {tmp_path}, {tmp_path.parent}, ")
    with pytest.raises(NoSiteError, match=f"no CiviCRM site found in {tmp_path}, {tmp_path.parent}, "):
        detect(tmp_path, {})


def test_variables_name_the_site(tmp_path):
    site = PhpSite(tmp_path / "one", hosts={"two.example.org": 2})
    joomla = PhpSite(tmp_path / "two", "joomla")
    for environ in (
        {"CIVICRM_BOOT": f"WordPress:/{site.root}"},
        {"CIVICRM_BOOT": f"Auto:/{site.root}"},
        {"CIVICRM_SETTINGS": str(site.settings_file)},
    ):
        status, (line,), stderr = minipipe(tmp_path, "--probe", **environ)
        assert (status, stderr) == (0, "")
        assert json.loads(line)["domain"] == 1
        assert detect(tmp_path, environ).root == site.root
    for how in ({"url": "--url=https://two.example.org/x"}, {"HTTP_HOST": "two.example.org"}):
        arguments = [how.pop("url")] if "url" in how else []
        _, (line,), _ = minipipe(site.root, "--probe", *arguments, **how)
        assert json.loads(line)["domain"] == 2
    with_host = {"CIVICRM_BOOT": f"WordPress:/{site.root}?host=two.example.org"}
    assert json.loads(minipipe(tmp_path, "--probe", **with_host)[1][0])["domain"] == 2
    assert detect(tmp_path, with_host).url == "two.example.org"
    assert minipipe(tmp_path, CIVICRM_BOOT="Typo3://x")[0] == 12
    assert minipipe(tmp_path, CIVICRM_SETTINGS="/nowhere/civicrm.settings.php")[0] == 12
    assert joomla.root.exists()


def test_the_wrong_php(tmp_path):
    need("php-cgi")
    status, _, stderr = minipipe(tmp_path, php="php-cgi", REDIRECT_STATUS="1")
    assert status == 10
    assert 'this is PHP\'s "cgi-fcgi", not its command line' in stderr
    status, _, stderr = minipipe(tmp_path, "--nonsense")
    assert status == 2
    assert '"--nonsense" is not an option' in stderr


def test_a_failed_task_is_told_as_a_line_of_json(tmp_path):
    site = PhpSite(tmp_path)
    site.queue("a")
    site.push("a", "fail")
    for payload in (False, True):
        site.execute("UPDATE civicrm_queue_item SET release_time = NULL, run_count = 0")
        site.execute("UPDATE civicrm_queue SET retry_limit = 5")
        _, _, stderr = minipipe(site.root, *(["--payload"] if payload else []), calls=CALLS)
        told = json.loads(stderr.splitlines()[-1])
        arguments = {"arguments": [str(site.journal)]} if payload else {}
        assert told == {
            "coworker": "task_error", "queue": "a", "id": "1", "title": "php:fail 0", "callback": "php:fail",
            "error": "RuntimeException: as it was made to", **arguments,
        }  # fmt: skip


@pytest.mark.parametrize("payload", [False, True])
def test_the_arguments_of_an_exhausted_task_are_told_only_if_wanted(tmp_path, payload):
    site = PhpSite(tmp_path)
    site.queue("a")
    site.push("a", "fail", "a secret")
    site.execute("UPDATE civicrm_queue_item SET run_count = 9")
    _, _, stderr = minipipe(site.root, *(["--payload"] if payload else []), calls=CALLS)
    error = json.loads(stderr.splitlines()[-1])["error"]
    assert error.startswith("CRM_Core_Exception: Skipping exhausted task after 10 tries")
    assert ("a secret" in stderr) is payload


@pytest.mark.parametrize("noted", [False, True])
def test_what_a_task_leaves_behind_is_told_whether_its_beginning_is_noted_or_not(tmp_path, noted):
    site = PhpSite(tmp_path)
    site.queue("a")
    site.push("a", "php", "umask(0077);")
    os.umask(mask := os.umask(0))
    notes = {"COWORKER_BEGUN": str(tmp_path / "notes")} if noted else {}
    status, lines, stderr = minipipe(site.root, calls=CALLS, **notes)
    assert (status, json.loads(lines[2])["result"][0]["outcome"]) == (0, "ok")
    assert json.loads(stderr) == {
        "coworker": "task_left", "id": "1", "title": "php:php 0", "callback": "php:php", "what": "umask",
        "level": "notice", "text": f"umask is 0077, was {mask:04o}: set back", "replace": None,
    }  # fmt: skip
    assert (tmp_path / "notes").exists() is noted


def settle(site, *entries):
    status, lines, stderr = minipipe(site.root, "--settle", lines=[json.dumps(list(entries))])
    assert (status, stderr) == (0, "")
    answer = json.loads(lines[1].removeprefix("coworker-settle "))
    assert abs(answer["now"] - time.time()) < 5
    return answer["reports"]


def test_settling_changes_a_row_only_if_it_is_as_it_was_read(tmp_path):
    site = PhpSite(tmp_path, queue_item=False)
    site.queue("a")
    site.push("a", "empty", times=3)
    leased = int(time.time()) + 3600
    site.execute("UPDATE civicrm_queue_item SET run_count = 1, release_time = ? WHERE id < 3", leased)
    row = {"id": "1", "run_count": 1, "release_time": leased}
    assert settle(site, {"queue": "a", "id": "1"}, {"queue": "a", "id": "9"}) == [row, None]
    (found,) = settle(site, {"queue": "a", "release": [leased - 2, leased + 2]})
    assert [each["id"] for each in found] == ["1", "2"]
    back = {"run_count": 0, "release_in": None}
    right = {"queue": "a", "id": "1", "run_count": 1, "release": [leased, leased], "set": back}
    stale = {**right, "release": [leased - 9, leased - 1]}
    wrong = [{**right, "queue": "b"}, {**right, "run_count": 2}, stale,
             {**right, "release": None}]  # fmt: skip
    assert settle(site, *wrong) == [0, 0, 0, 0]
    assert settle(site, right, right) == [1, 0]
    assert site.rows()["1"] == (0, None)
    later = {"queue": "a", "id": "3", "run_count": 0, "release": None, "set": {"release_in": 60}}
    assert settle(site, later) == [1]
    assert abs(site.rows()["3"][1] - time.time() - 60) < 5
