"""What is seen of a site's code: that a link leads elsewhere, and that files have changed."""

import shutil

import pytest

from coworker.civi.fingerprint import CodeDirectory, Fingerprint


@pytest.fixture
def current(tmp_path):
    """The link to a release that has a folder `web`, which is the cwd of the site."""
    (tmp_path / "1" / "web").mkdir(parents=True)
    link = tmp_path / "current"
    link.symlink_to("1")
    return link


def switch(link, to):
    new = link.with_name("new")
    new.symlink_to(to)
    new.replace(link)


def test_a_release_has_moved_when_its_path_leads_elsewhere_or_nowhere(current, tmp_path):
    release = CodeDirectory(current / "web")
    assert not release.has_moved
    (tmp_path / "1" / "web" / "file").touch()
    assert not release.has_moved, "what is in it is not the question"
    (tmp_path / "2" / "web").mkdir(parents=True)
    switch(current, "2")
    assert release.has_moved
    assert not CodeDirectory(current / "web").has_moved
    switch(current, "1")
    assert not release.has_moved, "it was taken back"
    current.unlink()
    assert release.has_moved


def test_a_directory_that_takes_the_place_of_a_deleted_one_is_another(tmp_path):
    """On many file systems it would get the same number at once, if nobody held the old one."""
    path = tmp_path / "site"
    path.mkdir()
    release = CodeDirectory(path)
    for _ in range(5):
        path.rmdir()
        path.mkdir()
        assert release.has_moved


def test_a_release_that_was_not_there_has_moved_when_it_comes(tmp_path):
    release = CodeDirectory(tmp_path / "site")
    (tmp_path / "site").mkdir()
    assert release.has_moved


@pytest.fixture
def root(tmp_path):
    """A Drupal with an extension."""
    root = tmp_path / "web"
    for name in (
        "core/core.services.yml",
        "sites/default/civicrm.settings.php",
        "sites/default/files/civicrm/ext/one/info.xml",
        "../vendor/civicrm/civicrm-core/civicrm-version.php",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    return root


CHANGES = {
    "file": lambda root: (root / "../vendor/civicrm/civicrm-core/civicrm-version.php").write_text("22"),
    "extension": lambda root: (root / "sites/default/files/civicrm/ext/one/info.xml").write_text("22"),
    "new": lambda root: shutil.copytree(
        root / "sites/default/files/civicrm/ext/one", root / "sites/default/files/civicrm/ext/two"
    ),
    "gone": lambda root: shutil.rmtree(root / "sites/default/files/civicrm/ext/one"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("thorough", [True, False])
def test_changes_are_seen_at_a_glance(root, change, thorough):
    fingerprint = Fingerprint(root, {})
    first = fingerprint.digest(thorough=thorough)
    assert first == (fingerprint.digest()[0], "")
    change(root)
    digest, what = fingerprint.digest(thorough=thorough)
    assert digest != first[0]
    assert what.startswith(str(root))
    assert fingerprint.digest(thorough=thorough) == fingerprint.digest()


def test_what_appears_in_a_new_place_is_seen_by_a_thorough_look(root):
    fingerprint = Fingerprint(root, {})
    before, _ = fingerprint.digest()
    path = root / "ext/mine/info.xml"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    assert fingerprint.digest()[0] != before


def test_without_a_site_nothing_ever_changes(tmp_path, monkeypatch):
    fingerprint = Fingerprint(tmp_path, {})
    first = fingerprint.digest()
    (tmp_path / "file").touch()
    assert fingerprint.digest() == first
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Fingerprint(None, {}).digest() == first, "nor where there is no directory any more"
