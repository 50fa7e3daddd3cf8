"""Which directory a site's compiled code is kept in, and when there is none."""

import os
import stat
from pathlib import Path

import pytest

from coworker.civi import launch, opcache
from coworker.config.settings import SiteSettings


@pytest.fixture
def php(tmp_path):
    """An environment whose php is a program of its own."""
    program = tmp_path / "bin/php"
    program.parent.mkdir()
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    return {"PATH": str(program.parent)}


@pytest.fixture
def root(tmp_path):
    """The root of a site."""
    for name in ("wp-load.php", "wp-content/plugins/civicrm/civicrm/civicrm-version.php"):
        (tmp_path / "cms" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cms" / name).write_text("<?php\n")
    return tmp_path / "cms"


@pytest.fixture
def base(tmp_path):
    return tmp_path / "state/opcache"


@pytest.fixture
def prepare(root, base, php):
    base.parent.mkdir()

    def call(pipe="MINIPIPE vtl", cwd=root, environ=php, **values):
        return opcache.prepare(SiteSettings("a", cwd, pipe, **values), base, environ)

    return call


def test_it_is_ours_alone_and_the_same_until_something_changes(prepare, base):
    path = prepare()
    assert path.parent == base
    assert path.name.startswith("a-")
    assert {stat.S_IMODE(each.stat().st_mode) for each in (base, path)} == {0o700}
    assert prepare() == path


def test_other_code_another_php_and_another_site_have_one_of_their_own(prepare, root, php, base):
    paths = {prepare(), prepare(environ={**php, "COWORKER_PHP": "php -n"})}
    version = root / "wp-content/plugins/civicrm/civicrm/civicrm-version.php"
    os.utime(version, (1, 1))
    paths.add(prepare())
    os.utime(php["PATH"] + "/php", (1, 1))
    paths.add(prepare())
    paths.add(opcache.prepare(SiteSettings("b", root, "MINIPIPE"), base, php))
    assert len(paths) == 5


@pytest.mark.parametrize(
    "pipe",
    [
        "cv pipe vtl",
        "sudo -u www-data MINIPIPE vtl",
        "su www-data -c 'cd x && MINIPIPE vtl'",
        "cd /elsewhere && MINIPIPE vtl",
        "CIVICRM_BOOT=Auto:///elsewhere MINIPIPE vtl",
        "HTTP_HOST=$(sudo x) MINIPIPE vtl",
        "ssh web1 MINIPIPE vtl",
    ],
)
def test_none_where_another_user_or_another_site_may_be_meant(prepare, pipe):
    with pytest.raises(opcache.NoCacheError, match="not MINIPIPE alone"):
        prepare(pipe)


@pytest.mark.parametrize(
    "pipe", ["MINIPIPE", "exec MINIPIPE vtl", "HTTPS=on HTTP_HOST=a.org MINIPIPE vtl 2>>log"]
)
def test_one_where_the_line_begins_with_the_adapter(prepare, pipe):
    path = prepare(pipe)
    assert f" -d opcache.file_cache={path} {launch.ADAPTER}" in launch.expand(pipe, path)
    assert "opcache" not in launch.expand(pipe)


def test_none_where_the_code_is_not_known(prepare, tmp_path):
    with pytest.raises(opcache.NoCacheError, match="not found from cwd"):
        prepare(cwd=tmp_path)


def test_none_where_php_is_a_script_that_may_lead_anywhere(prepare, php):
    Path(php["PATH"], "php").write_text("#!/bin/sh\nexec docker exec -i web php\n")
    with pytest.raises(opcache.NoCacheError, match="not PHP itself"):
        prepare()
    with pytest.raises(opcache.NoCacheError, match="cannot be read"):
        prepare(environ={**php, "COWORKER_PHP": "php5"})


def test_none_in_a_directory_that_others_can_write(prepare):
    prepare().chmod(0o770)
    with pytest.raises(opcache.NoCacheError, match="we alone can write"):
        prepare()


def test_none_behind_a_link(prepare, base, tmp_path):
    path = prepare()
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(opcache.NoCacheError, match="we alone can write"):
        prepare()


def test_none_where_none_can_be_made(prepare, base):
    base.write_text("")
    with pytest.raises(opcache.NoCacheError, match="cannot be used: File exists"):
        prepare()


def test_what_nobody_uses_is_deleted_and_what_is_in_use_stays(prepare, base):
    path, old = prepare(), base / "a-old"
    (old / "below").mkdir(parents=True)
    (old / "below/file.bin").write_text("")
    for each in (path, old):
        os.utime(each, (1, 1))
    assert prepare() == path
    opcache.prune(base)
    assert list(base.iterdir()) == [path]
    opcache.prune(base / "none")
