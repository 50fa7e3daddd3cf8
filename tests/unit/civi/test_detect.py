"""Which site a directory belongs to, from files alone; and which command starts it."""

import pytest

from coworker.civi import launch
from coworker.civi.detect import BY_NAME, KINDS, NoSiteError, detect
from coworker.config.load import load
from coworker.config.settings import SiteSettings
from coworker.errors import ConfigError


def lay(root, kind, *, civicrm=True):
    """A site of that kind: its first sign, and its settings."""
    kind = BY_NAME[kind]
    files = [kind.signs[0]]
    if civicrm:
        files.append(kind.settings[0].replace("*", "default"))
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_sign_in_every_place(tmp_path, kind):
    for number, sign in enumerate(kind.signs):
        for below in kind.below:
            base = tmp_path / f"{number}{below}"
            root = base / below
            (root / sign).parent.mkdir(parents=True)
            (root / sign).touch()
            deep = root / "a/b"
            deep.mkdir(parents=True)
            for start in (base, root, deep):
                found = detect(start, {})
                assert (found.kind, found.root) == (kind, root)
                assert found.cwd == (start if start in (root, deep) else root)


def test_the_order_is_civicrms_own(tmp_path):
    for names in (("WordPress", "Joomla"), ("Joomla", "Drupal"), ("Drupal8", "Backdrop")):
        root = tmp_path / "-".join(names)
        for name in names:
            lay(root, name, civicrm=name == names[0])
        assert detect(root, {}).kind.name == names[0]


def test_two_sites_at_one_place_cannot_be_told_apart(tmp_path):
    lay(tmp_path, "WordPress")
    lay(tmp_path / "web", "Drupal8")
    message = (
        f"two sites: WordPress in {tmp_path} and Drupal 8\\+ in {tmp_path}/web: say which with "
        f"CIVICRM_BOOT=WordPress:/{tmp_path} or CIVICRM_BOOT=Drupal8:/{tmp_path}/web"
    )
    with pytest.raises(NoSiteError, match=message):
        detect(tmp_path, {})
    assert detect(tmp_path / "web", {}).kind.name == "Drupal8"
    assert detect(tmp_path, {"CIVICRM_BOOT": f"WordPress:/{tmp_path}"}).kind.name == "WordPress"


def test_a_site_within_another_is_the_one_and_the_other_is_told(tmp_path):
    lay(tmp_path, "WordPress")
    inner = lay(tmp_path / "crm/web", "Drupal8")
    found = detect(inner, {})
    assert found.root == inner
    assert [other.root for other in found.outer] == [tmp_path]


def test_the_nearest_site_has_no_civicrm_but_another_has(tmp_path):
    lay(tmp_path, "WordPress")
    inner = lay(tmp_path / "blog", "Drupal8", civicrm=False)
    message = f"the nearest site, Drupal 8\\+ in {inner}, has no CiviCRM, but WordPress in {tmp_path} has: "
    with pytest.raises(NoSiteError, match=f"{message}give --cwd={tmp_path}"):
        detect(inner, {})


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"CIVICRM_BOOT": "nonsense"}, "CIVICRM_BOOT=nonsense: must be Type://path"),
        ({"CIVICRM_BOOT": "Typo3://x"}, "its type one of Auto, WordPress, Joomla, Drupal, Drupal8"),
        ({"CIVICRM_BOOT": "WordPress://no/such"}, "there is no directory /no/such"),
        ({"CIVICRM_SETTINGS": "/no/such.php"}, "CIVICRM_SETTINGS=/no/such.php: there is no such file"),
    ],
)
def test_variables_that_name_nothing(tmp_path, environ, says):
    with pytest.raises(NoSiteError, match=says):
        detect(tmp_path, environ)


LINES = {
    "WordPress": [
        "cv pipe vtl",
        "MINIPIPE vtl",
        "wp civicrm pipe vtl",
        "wp eval 'civicrm_initialize(); Civi::pipe(\"vtl\");'",
    ],
    "Drupal": ["cv pipe vtl", "MINIPIPE vtl", "drush ev 'civicrm_initialize(); Civi::pipe(\"vtl\");'"],
    "Drupal8": [
        "cv pipe vtl",
        "MINIPIPE vtl",
        'drush ev \'\\Drupal::service("civicrm")->initialize(); Civi::pipe("vtl");\'',
    ],
    "Joomla": ["cv pipe vtl", "MINIPIPE vtl"],
    "Standalone": ["cv pipe vtl", "MINIPIPE vtl"],
}


@pytest.mark.parametrize("kind", LINES)
def test_the_lines_that_start_each_kind(tmp_path, kind):
    found = detect(lay(tmp_path, kind), {})
    assert list(launch.lines(found).values()) == LINES[kind]


def test_cv_if_it_is_there_else_the_adapter(tmp_path):
    found = detect(lay(tmp_path / "site", "WordPress"), {"HTTP_HOST": "two.example.org"})
    assert launch.best(found, str(tmp_path)) == "MINIPIPE --url=two.example.org vtl"
    (tmp_path / "cv").touch(mode=0o755)
    assert launch.best(found, str(tmp_path)) == "cv pipe vtl --url=two.example.org"


def test_a_site_without_a_pipe_is_found_from_its_directory(tmp_path):
    root = lay(tmp_path / "site/web", "Drupal8")
    file = tmp_path / "c.toml"
    file.write_text(
        f"[sites.a]\ncwd = '{tmp_path}/site'\n[sites.b]\ncwd = '{tmp_path}'\n[sites.c]\npipe = 'x'\n"
    )
    config = load(file, (), {}, euid=1000)
    with pytest.raises(ConfigError) as caught:
        launch.complete(config, {"PATH": ""})
    (problem,) = caught.value.problems
    assert problem.startswith("sites.b: no CiviCRM site found in ")
    file.write_text(f"[sites.a]\ncwd = '{tmp_path}/site'\n")
    (site,) = launch.complete(load(file, (), {}, euid=1000), {"PATH": ""}).sites
    assert (site.pipe, site.cwd) == ("MINIPIPE vtl", root)


def test_the_environment_of_a_pipe():
    environ = launch.environment({"A": "b", "SHELL_VERBOSITY": "3"})
    assert environ == {"A": "b", "SHELL_VERBOSITY": "1", "COWORKER_PIPE": "1"}
    for verbosity in ("1", "0", "-1", "", "x"):
        assert launch.environment({"SHELL_VERBOSITY": verbosity})["SHELL_VERBOSITY"] == verbosity


@pytest.mark.parametrize(
    ("command", "is_expanded"),
    [
        ("MINIPIPE", True),
        ("MINIPIPE vtl", True),
        ("CIVICRM_BOOT=Auto://. MINIPIPE --url=x vtl", True),
        ("cd x && MINIPIPE", True),
        ("xMINIPIPE", False),
        ("echo 'no-MINIPIPE'", False),
        ("ssh web1 MINIPIPE vtl", False),
    ],
)
def test_minipipe_where_it_is_a_command_here(command, is_expanded):
    expanded = launch.expand(command)
    assert ("minipipe.php" in expanded) is is_expanded
    assert (expanded == command) is not is_expanded
    assert launch.ADAPTER.is_file()


def ssh_command(tmp_path, run_dir="/run/coworker", **values):
    site = SiteSettings("a", values.pop("cwd", None), ssh="www-data@web1", **values)
    config = load(None, [("sites.a.pipe", "x"), ("run_dir", run_dir)], {"HOME": str(tmp_path)}, euid=1000)
    return launch._over_ssh(site, config.coworker.run_dir)


def test_the_ssh_that_is_built(tmp_path):
    command = ssh_command(tmp_path, pipe="cv pipe vtl", ssh_options="-p 2222")
    assert command.startswith("exec ssh -T -p 2222 -o BatchMode=yes -o StrictHostKeyChecking=yes ")
    assert "-o ServerAliveInterval=15 -o ServerAliveCountMax=3" in command
    assert "-o ControlMaster=auto -o ControlPath=/run/coworker/ssh-" in command
    assert command.endswith(" -- www-data@web1 'cv pipe vtl'")
    assert SiteSettings("a", None, command).is_remote
    with_key = ssh_command(tmp_path, ssh_key_file="/k", cwd="/var/www/a b")
    assert "-i /k -o IdentitiesOnly=yes" in with_key
    assert with_key.endswith(""" 'cd '"'"'/var/www/a b'"'"' && cv pipe vtl'""")
    assert ssh_command(tmp_path, cwd="~/a b").endswith(""" 'cd ~/'"'"'a b'"'"' && cv pipe vtl'""")
    assert "ControlMaster" not in ssh_command(tmp_path, run_dir="/" + "x" * 100)


def test_a_directory_on_another_host_is_not_sought_here(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[sites.a]\nssh = 'web1'\ncwd = '/no/such/directory/here'\n")
    (site,) = launch.complete(load(file, (), {}, euid=1000), {}).sites
    assert site.cwd is None
    assert "cd /no/such/directory/here && cv pipe vtl" in site.pipe
    file.write_text("[sites.a]\npipe = 'x'\ncwd = '/no/such/directory/here'\n")
    with pytest.raises(ConfigError, match="directory does not exist"):
        load(file, (), {}, euid=1000)


def test_the_shells_name_of_a_directory_keeps_its_links(tmp_path, monkeypatch):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.chdir(real)
    assert launch.shell_directory({"PWD": str(link)}) == link
    assert launch.shell_directory({"PWD": "/"}) == real
    assert launch.shell_directory({}) == real
