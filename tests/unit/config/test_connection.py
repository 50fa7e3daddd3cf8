"""How a connection is set up, as far as words tell it."""

import pytest

from coworker.config.connection import how_to_get


@pytest.mark.parametrize(
    ("prefix", "base", "expected"),
    [
        ("/usr", "/usr", "apt-get install python3-httpx"),
        ("/opt/coworker", "/usr", "/opt/coworker/bin/pip install 'httpx >= 0.23'"),
        ("/usr/local", "/usr/local", "/usr/local/bin/pip install 'httpx >= 0.23'"),
    ],
)
def test_a_library_is_installed_by_the_pip_of_this_python(monkeypatch, prefix, base, expected):
    monkeypatch.setattr("sys.prefix", prefix)
    monkeypatch.setattr("sys.base_prefix", base)
    assert how_to_get("httpx >= 0.23", "python3-httpx") == expected
