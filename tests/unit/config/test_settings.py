"""The table of settings, and what is made from it."""

import dataclasses
import re
import tokenize
from pathlib import Path

import pytest

from coworker.config import render
from coworker.config.load import load
from coworker.config.settings import (
    CoworkerSettings,
    DomainSettings,
    LogSettings,
    QueueSettings,
    SiteSettings,
    WorkerSettings,
)
from coworker.config.table import BY_NAME, SECTIONS, SETTINGS, Kind, env_name, find
from coworker.policy.recycling import JITTER

ROOT = Path(__file__).parents[3]
CLASSES = {
    "coworker": CoworkerSettings,
    "log": LogSettings,
    "workers": WorkerSettings,
    "sites.NAME": SiteSettings,
    "sites.NAME.domains.NUMBER": DomainSettings,
    "sites.NAME.queues.PATTERN": QueueSettings,
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_field_and_every_field_a_setting(section):
    fields = {field.name for field in dataclasses.fields(CLASSES[section])} - {
        "name",
        "queues",
        "pattern",
        "domains",
        "number",
    }
    assert {setting.field for setting in SETTINGS if setting.section == section} == fields


def test_names_and_environment_names_are_unique():
    assert len(BY_NAME) == len(SETTINGS)
    assert len({env_name(tuple(name.split("."))) for name in BY_NAME}) == len(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_declaration_is_complete(setting):
    assert setting.help.endswith(".")
    assert setting.default is not None or setting.fallback or setting.required
    assert setting.default is not None or setting.example
    if setting.kind in (Kind.INTEGER, Kind.NUMBER):
        assert setting.default is None or setting.low <= setting.default <= setting.high
    else:
        assert setting.low is setting.high is None
    assert bool(setting.choices) == (setting.kind is Kind.CHOICE)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (("log", "level"), "log.level"),
        (("sites", "a", "workers", "count"), "workers.count"),
        (("sites", "a", "queues", "b.c", "weight"), "sites.NAME.queues.PATTERN.weight"),
        (("sites", "a", "workers"), "sites.NAME.workers"),
    ],
)
def test_find(key, name):
    assert find(key) is BY_NAME[name]


@pytest.mark.parametrize(
    "key",
    [(), ("log",), ("log.level",), ("sites",), ("sites", "a"), ("sites", "a", "count"), ("a", "b.c", "d")],
)
def test_find_nothing(key):
    assert find(key) is None


@pytest.mark.parametrize("name", render.files())
def test_the_generated_files_are_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == render.files()[name]


@pytest.mark.parametrize("name", ["workers.max_requests", "workers.max_age"])
def test_what_chance_may_take_off_a_limit_is_said_of_it(name):
    assert f"less up to {round(100 * JITTER)} %" in BY_NAME[name].help


def test_render_writes_and_compares(tmp_path, capsys):
    assert render.main([str(tmp_path)]) == 1
    assert "doc/config.md is out of date" in capsys.readouterr().err
    assert render.main(["--write", str(tmp_path)]) == 0
    assert render.main([str(tmp_path)]) == 0
    (tmp_path / "doc/config.md").write_text("changed")
    assert render.main([str(tmp_path)]) == 1


def test_the_sample_works_as_it_is(tmp_path):
    path = tmp_path / "sample.toml"
    path.write_text(render.sample())
    (site,) = load(path, environ={}, euid=0).sites
    assert site == SiteSettings("example", None, "coworker pipe --store sqlite:///coworker-example.db")


def test_the_sample_shows_every_setting_with_its_default(tmp_path):
    text = re.sub(r"^#(?! )", "", render.sample(), flags=re.MULTILINE)
    path = tmp_path / "sample.toml"
    assert len(re.findall(r"^\w+ = ", text, re.MULTILINE)) == len(SETTINGS)
    domain = text[text.index("[sites.example.domains.2]") : text.index("[sites.example.queues")]
    text = re.sub(r"^web_token = .*\n", "", text.replace(domain, ""), flags=re.MULTILINE)  # alternatives
    path.write_text(text.replace("/var/www/example.com/web", str(tmp_path)))
    config = load(path, environ={}, euid=0)
    assert config.log == LogSettings()
    assert config.coworker == CoworkerSettings(
        Path("/run/coworker"), Path("/var/lib/coworker"), user="www-data"
    )
    (site,) = config.sites
    assert site.workers == WorkerSettings(count=4)
    assert site.queues == (QueueSettings("import/*", task_timeout=600.0, concurrency_total=2),)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_reference_has_every_setting(setting):
    sections = render.reference().split("\n### ")
    heading = "`" + setting.name.replace("PATTERN", '"PATTERN"') + "`\n"
    (section,) = [section for section in sections if section.startswith(heading)]
    assert setting.help in section
    assert f"Reload: {setting.reload.value}" in section
    assert f"`{env_name(tuple(setting.name.split('.')))}`" in section


def test_the_settings_import_nothing_but_the_standard_library_and_their_own():
    imports = set()
    for file in (ROOT / "coworker/config").glob("*.py"):
        with tokenize.open(file) as source:
            imports |= set(re.findall(r"^(?:from|import) (coworker\S*)", source.read(), re.MULTILINE))
    allowed = ("coworker.config", "coworker.errors", "coworker.model")
    assert imports
    assert [name for name in imports if not name.startswith(allowed)] == []


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({}, 1.0),
        ({"poll_interval": 3.0}, 3.0),
        ({"poll_interval_max": 0.5}, 0.5),
        ({"web": "https://x.example/{entity}/{action}"}, 5.0),
        ({"web": "https://x.example/{entity}/{action}", "channel": "pipe,web"}, 1.0),
        ({"web": "https://x.example/{entity}/{action}", "poll_interval_max": 1.0}, 1.0),
    ],
)
def test_looks_over_http_are_rarer(given, limit):
    assert SiteSettings("a", None, **given).poll_limit == limit
