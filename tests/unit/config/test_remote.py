"""Whose processes are out of our reach, as far as a shell line tells (rule 9)."""

import pytest

from coworker.config.remote import seems_remote
from coworker.config.settings import SiteSettings

REMOTE = [
    "ssh -T www@example.com cv pipe vtl",
    "exec ssh host wp civicrm pipe vtl",
    "/usr/bin/ssh host cv pipe",
    "docker compose exec -T civicrm cv pipe vtl",
    "sudo podman exec -i web cv pipe",
    "cd /srv && kubectl exec deploy/civi -- cv pipe vtl",
    "drush @live ev 'x'",
    "drush -y @example.live cvpipe vtl",
    "wp --ssh=host civicrm pipe vtl",
    "wp --path=/srv --ssh=docker:web civicrm pipe",
    "docker-compose exec -T civicrm cv pipe vtl",
    "podman-compose exec -T civicrm cv pipe vtl",
    "nerdctl exec -i web cv pipe",
    "oc rsh deploy/civi cv pipe",
    "lxc-attach -n civi -- cv pipe",
    "pct exec 101 -- cv pipe vtl",
    "systemd-run --pipe --wait cv pipe vtl",
    "machinectl shell civi /usr/bin/cv pipe",
    "nsenter -t 1 -m cv pipe",
    "autossh -M 0 www@example.com cv pipe",
    "sh -c 'ssh host cv pipe vtl'",
    'bash -lc "docker exec -i web cv pipe"',
    "env -i PATH=/usr/bin nice -n 5 sudo -u www-data ssh host cv pipe",
]
LOCAL = [
    "cv pipe vtl",
    "wp civicrm pipe vtl",
    "drush cvpipe vtl",
    "drush @self cvpipe",
    'drush ev \'\\Drupal::service("civicrm")->initialize(); Civi::pipe("vtl");\'',
    "/opt/ssh-tools/cv pipe",
    "cv --cwd=/var/docker pipe",
    "cd /srv/docker && cv pipe vtl",
    "sudo -u www-data cv pipe vtl",
    "coworker pipe --store sqlite:///x.db",
    "nice -n 5 cv pipe vtl",
    "env -i sh -c 'cv pipe vtl'",
    "/opt/oc/bin/cv pipe vtl",
]


@pytest.mark.parametrize("command", REMOTE)
def test_remote(command):
    assert seems_remote(command)


@pytest.mark.parametrize("command", LOCAL)
def test_local(command):
    assert not seems_remote(command)


def test_what_was_said_beats_the_guess():
    assert SiteSettings("s", None, "ssh host cv pipe").is_remote
    assert not SiteSettings("s", None, "ssh host cv pipe", remote=False).is_remote
    assert SiteSettings("s", None, "cv pipe", remote=True).is_remote
