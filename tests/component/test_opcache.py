"""Pipes of real PHP that keep their compiled code."""

import os
import subprocess
import time
from contextlib import contextmanager

import pytest
from support.php_site import PhpSite, need
from support.pipe_helpers import poller  # noqa: F401

from coworker.child.connect import adapter_of, start_pipe
from coworker.civi import opcache
from coworker.civi.client import Client
from coworker.config.settings import SiteSettings

WORKERS = 4
OLD = time.time() - 3600  # OPcache keeps no file that was changed a moment ago


@pytest.fixture
def php_site(tmp_path):
    """A site with a file of its own, of old date."""
    need("php", "-r", "exit(extension_loaded('Zend OPcache') ? 0 : 1);", what="OPcache")
    site = PhpSite(tmp_path / "php")
    with (site.root / "wp-load.php").open("a") as file:
        file.write("\nrequire __DIR__ . '/own.php';\n")
    write(site, "one")
    return site


def write(site, word, when=OLD):
    file = site.root / "own.php"
    file.write_text(f"<?php file_put_contents('{site.directory}/said', '{word}');\n")
    os.utime(file, (when, when))


@contextmanager
def booted(site, poller, cache):  # noqa: F811
    """The pipes of several workers that boot at the same time."""
    settings = SiteSettings("a", site.root, "MINIPIPE vtl")
    pipes = [start_pipe(settings, poller, cache=cache) for _ in range(WORKERS)]
    try:
        for pipe in pipes:
            client = Client(pipe, call_timeout=20)
            assert client.handshake(minimum_version="5.51", deadline=time.monotonic() + 20).version
        yield pipes
    finally:
        for pipe in pipes:
            pipe.end()


def boot(site, poller, cache):  # noqa: F811
    """What the site's own file said, and all the standard error."""
    with booted(site, poller, cache) as pipes:
        return (site.directory / "said").read_text(), "".join(pipe.take_stderr() for pipe in pipes)


def compiled(cache, name="own.php"):
    return sorted(cache.rglob(f"{name}.bin"))


@pytest.fixture
def cache(php_site, tmp_path):
    return opcache.prepare(SiteSettings("a", php_site.root, "MINIPIPE vtl"), tmp_path / "opcache")


def test_several_pipes_keep_it_at_once_and_changed_files_are_seen(php_site, poller, cache):  # noqa: F811
    assert boot(php_site, poller, cache) == ("one", "")
    (file,) = compiled(cache)
    first = file.stat().st_mtime_ns
    assert boot(php_site, poller, cache) == ("one", "")
    assert file.stat().st_mtime_ns == first, "it was read, not written again"
    write(php_site, "two", OLD - 60)
    assert boot(php_site, poller, cache) == ("two", "")


def test_php_ini_of_a_web_server_does_not_hide_new_code(php_site, poller, cache, monkeypatch):  # noqa: F811
    options = "-d opcache.validate_timestamps=0 -d opcache.preload=/none.php -d opcache.enable_cli=0"
    monkeypatch.setenv("COWORKER_PHP", f"php {options}")
    assert boot(php_site, poller, cache) == ("one", "")
    write(php_site, "two", OLD - 60)
    assert boot(php_site, poller, cache) == ("two", "")


def test_a_damaged_file_is_made_anew(php_site, poller, cache):  # noqa: F811
    boot(php_site, poller, cache)
    (file,) = compiled(cache)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert boot(php_site, poller, cache) == ("one", "")
    boot(php_site, poller, cache)
    assert compiled(cache)[0].stat().st_size == len(whole)


def test_pruned_under_a_running_pipe(php_site, poller, cache):  # noqa: F811
    with booted(php_site, poller, cache) as pipes:
        subprocess.run(["rm", "-r", str(cache)], check=True)
        client = Client(pipes[0], call_timeout=20)
        assert client.api4("Queue", "get", {"checkPermissions": False}) == []


def test_what_settles_before_6_4_has_it_too(php_site, poller, cache):  # noqa: F811
    rows = adapter_of(SiteSettings("a", php_site.root, "MINIPIPE vtl"), poller, cache)()
    rows.close()
    assert compiled(cache)
