"""What control sees of the site, and that it tells only what has changed."""

from types import SimpleNamespace

import pytest

from coworker.child import site_probe
from coworker.child.site_probe import CODE_EVERY, PROBE_EVERY, SiteProbe
from coworker.errors import CallError, PipeGoneError
from coworker.ipc.messages import SiteState


class World:
    """A probe, and the site that it asks: `settings` and the `database`'s version, or what it raises."""

    def __init__(self, monkeypatch, version="6.13.3", **more):
        self.now, self.selected = 100.0, []
        self.settings = {"environment": "Production", "core_maintenance_mode": "0"}
        self.database = "6.13.3"
        self.digest = ("one", "")
        monkeypatch.setattr(site_probe, "time", SimpleNamespace(monotonic=lambda: self.now))
        given = {
            "masked": False,
            "digest": lambda _thorough: self.digest,
            "imports": False,
            "fresh": False,
            **more,
        }
        self.probe = SiteProbe(self, version, **given)

    def api4(self, entity, action, params):
        value = self.settings if entity == "Setting" else self.database
        if isinstance(value, Exception):
            raise value
        if entity == "Setting":
            self.selected = params["select"]
            return [{"name": name, "value": value.get(name)} for name in self.selected]
        return [{"version": value}]

    def look(self):
        self.now += PROBE_EVERY
        return self.probe.observe()


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_all_is_told_at_first_and_then_only_what_changed(world):
    world.probe.read_settings()
    assert world.look() == SiteState("Production", False, "6.13.3", "6.13.3", "one", "")
    assert world.look() is None
    world.digest = ("two", "/civi/x.php")
    assert world.look() == SiteState("Production", False, "6.13.3", "6.13.3", "two", "/civi/x.php")
    world.database = "6.14.0"
    assert world.look().database == "6.14.0"
    assert world.look() is None


def test_a_look_is_due_now_and_then(world):
    assert world.probe.seconds() == 0.0
    world.probe.observe()
    assert world.probe.seconds() == CODE_EVERY
    world.now += PROBE_EVERY + 5.0
    assert world.probe.seconds() == 0.0


def test_code_that_is_not_here_needs_no_glances(monkeypatch):
    world = World(monkeypatch, digest=None)
    world.probe.observe()
    assert world.probe.seconds() == PROBE_EVERY


def test_between_two_looks_the_code_is_glanced_at_and_nobody_is_asked(monkeypatch):
    asked = []
    world = World(monkeypatch, digest=lambda thorough: asked.append(thorough) or world.digest)
    world.probe.observe()
    world.digest, world.database = ("two", "/x"), PipeGoneError()
    world.now += CODE_EVERY
    assert world.probe.observe().digest == "two"
    world.now += CODE_EVERY
    assert world.probe.observe() is None
    assert asked == [True, False, False]
    world.now += PROBE_EVERY
    with pytest.raises(PipeGoneError):
        world.probe.observe()
    assert asked[-1] is True


def test_a_look_that_failed_is_not_repeated_at_once(world):
    world.database = PipeGoneError()
    with pytest.raises(PipeGoneError):
        world.probe.observe()
    assert world.probe.seconds() == CODE_EVERY


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), (1, True), (True, True), ("0", False), (False, False), ("inherit", False), (None, None)],
)
def test_when_a_site_is_in_maintenance(world, value, on):
    world.settings["core_maintenance_mode"] = value
    world.probe.read_settings()
    assert world.look().maintenance is on


@pytest.mark.parametrize(("version", "asked"), [("6.0.5", False), ("6.1.0", True), ("6.10.beta1", True)])
def test_maintenance_is_asked_for_only_where_it_is_known(monkeypatch, version, asked):
    world = World(monkeypatch, version)
    world.probe.read_settings()
    assert ("core_maintenance_mode" in world.selected) is asked
    assert world.look().environment == "Production"


def test_settings_that_may_not_be_read_hold_nothing_up(world):
    world.settings = CallError("Authorization failed")
    world.probe.read_settings()
    state = world.look()
    assert (state.environment, state.maintenance) == (None, None)


def test_a_database_that_cannot_be_asked_for_a_moment_is_as_it_was(world):
    world.database = CallError("no")
    assert world.look().database is None
    world.database = "6.13.3"
    assert world.look().database == "6.13.3"
    world.database = CallError("no")
    assert world.look() is None


def test_a_version_that_is_the_databases_own_says_nothing_of_the_code(monkeypatch):
    world = World(monkeypatch, masked=True)
    assert world.look().code is None


def test_code_that_is_not_here_has_no_digest(monkeypatch):
    world = World(monkeypatch, digest=None)
    state = world.look()
    assert (state.digest, state.what) == ("", "")
