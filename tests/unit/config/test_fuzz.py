"""Nothing that is given as settings makes them crash."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coworker.config.load import load
from coworker.config.settings import Config
from coworker.config.table import SETTINGS
from coworker.errors import ConfigError

WORDS = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "1e9",
        "nan",
        "true",
        "no",
        "x",
        "${A}",
        "${",
        "$${",
        "~",
        "-",
        "5.51",
        "\0",
        "\n",
        "\udcff",
    ]
)
VALUES = st.sampled_from(
    [
        "''",
        "'x'",
        "'${A}'",
        "1",
        "-1",
        "0",
        "0.5",
        "1e400",
        "nan",
        "true",
        "[]",
        "{}",
        "{a = 1}",
        "1979-05-27",
        "x",
    ]
)
NAMES = [setting.name.replace("NAME", "example").replace("PATTERN", "'a.*'") for setting in SETTINGS]
ANY_NAME = st.sampled_from(
    [*NAMES, "x", "log.x", "sites.example", "sites.'a b'.pipe", "sites.example.queues.x"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    given=st.lists(st.tuples(ANY_NAME, VALUES), max_size=6),
    overrides=st.lists(st.tuples(ANY_NAME, WORDS), max_size=4),
    text=st.text(max_size=20),
)
def test_whatever_is_given_it_is_a_config_or_a_list_of_problems(tmp_path, given, overrides, text):
    path = tmp_path / "c.toml"
    path.write_text("\n".join(f"{name} = {value}" for name, value in given))
    listed = []
    try:
        config = load(path, [*overrides, (text, text)], {"COWORKER_LOG_LEVEL": text}, euid=1000)
    except ConfigError as error:
        config, listed = None, error.problems
    assert isinstance(config, Config) or listed
    assert all(problem.isprintable() for problem in listed)
