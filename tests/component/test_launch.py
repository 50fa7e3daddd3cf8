"""The lines of `coworker launch-lines` start a pipe: stand-ins of cv, wp and drush before real PHP."""

import json
import os
import subprocess
import sys
import time

import pytest
from support.php_site import PhpSite
from support.pipe_helpers import poller  # noqa: F401

from coworker.child.connect import start_pipe
from coworker.civi.client import Client
from coworker.civi.launch import ADAPTER
from coworker.config.settings import SiteSettings

STAND_IN = """#!/bin/sh
printf '%s\\n' "$0" "$@" >"{record}"
exec php {adapter} vtl
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """cv, wp and drush that write down their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cv", "wp", "drush", "docker", "podman", "kubectl"):
        tool = folder / name
        tool.write_text(STAND_IN.format(record=tmp_path / "arguments", adapter=ADAPTER))
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "arguments"


def coworker(directory, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "coworker", *arguments],
        cwd=directory, env={**os.environ, "PWD": str(directory)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def says_hello(line, cwd, poller):  # noqa: F811
    pipe = start_pipe(SiteSettings("a", cwd, line), poller)
    try:
        client = Client(pipe, call_timeout=20)
        return client.handshake(minimum_version="5.51", deadline=time.monotonic() + 20).version
    finally:
        pipe.end()


ARGUMENTS = {
    "wordpress": {
        "cv": ["pipe", "vtl"],
        "wp": ["civicrm", "pipe", "vtl"],
        "wp eval": ["eval", 'civicrm_initialize(); Civi::pipe("vtl");'],
    },
    "drupal7": {"cv": ["pipe", "vtl"], "drush": ["ev", 'civicrm_initialize(); Civi::pipe("vtl");']},
    "drupal8": {
        "cv": ["pipe", "vtl"],
        "drush": ["ev", '\\Drupal::service("civicrm")->initialize(); Civi::pipe("vtl");'],
    },
}


@pytest.mark.parametrize("layout", ARGUMENTS)
def test_each_line_starts_a_pipe_and_gives_its_tool_the_right_arguments(tmp_path, tools, poller, layout):  # noqa: F811
    site = PhpSite(tmp_path / "php", layout)
    status, output, _ = coworker(site.root, "launch-lines", "--json")
    lines = json.loads(output)["lines"]
    assert status == 0
    assert next(iter(lines)) == "cv"  # it is there
    assert says_hello(lines.pop("MINIPIPE"), site.root, poller) == "6.13.3"
    assert set(lines) == set(ARGUMENTS[layout])
    for name, line in lines.items():
        assert says_hello(line, site.root, poller) == "6.13.3"
        program, *arguments = tools.read_text().splitlines()
        assert program.endswith(f"/{name.split()[0]}")
        assert arguments == ARGUMENTS[layout][name]


@pytest.mark.parametrize(
    "line",
    [
        "docker exec -i civi cv pipe vtl",
        "podman exec -i civi cv pipe vtl",
        "kubectl exec -i deploy/civi -- cv pipe vtl",
    ],
)
def test_a_pipe_in_a_container_is_remote(tmp_path, tools, poller, line):  # noqa: F811
    site = PhpSite(tmp_path / "php")
    assert says_hello(line, site.root, poller) == "6.13.3"
    assert tools.read_text().splitlines()[1:] == line.split()[1:]
    assert SiteSettings("a", None, line).is_remote


def test_detect_says_what_it_found_and_the_command(tmp_path, tools):
    site = PhpSite(tmp_path / "php", "drupal8")
    status, output, _ = coworker(site.root, "detect")
    assert status == 0
    assert output.splitlines()[0] == f"Drupal 8+ in {site.root} (by files)"
    assert output.splitlines()[-1] == f"command:  cv pipe vtl   in {site.root}"
    status, output, _ = coworker(tmp_path, "detect", "--cwd", str(site.root), "--json")
    answer = json.loads(output)
    assert (answer["found"], answer["type"], answer["settings"]) == (
        True,
        "Drupal8",
        [str(site.settings_file)],
    )
    status, output, error = coworker(tmp_path, "detect")
    assert (status, output) == (69, "")
    assert error.startswith(f"coworker: no CiviCRM site found in {tmp_path}, ")
    assert json.loads(coworker(tmp_path, "detect", "--json")[1])["found"] is False
    assert tools.parent == tmp_path
