"""Versions of CiviCRM: what one can do, and which is newer."""

import pytest

from coworker.version import age_key, version_key


@pytest.mark.parametrize(
    ("version", "key"),
    [
        ("6.13.3", (6, 13, 3)),
        ("5.77.beta1", (5, 77)),
        ("6.15.alpha1", (6, 15)),
        ("5.51", (5, 51)),
        (" 6.1.0-rc2", (6, 1, 0)),
        ("v6", ()),
        ("", ()),
    ],
)
def test_the_numbers_of_a_version(version, key):
    assert version_key(version) == key


def test_versions_compare_as_numbers():
    assert version_key("5.100") > version_key("5.77.beta1") > version_key("5.9")


def test_age_tells_unstable_versions_from_their_release():
    versions = ["5.77.2", "6.4.alpha1", "6.4.alpha2", "6.4.beta1", "6.4.rc1", "6.4.0", "6.4.1", "6.10.0"]
    keys = [age_key(version) for version in versions]
    assert sorted(keys) == keys
    assert len({str(key) for key in keys}) == len(keys)


def test_what_is_no_version_is_older_than_any():
    assert age_key("") <= age_key("0") < age_key("4.7")
