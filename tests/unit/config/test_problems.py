"""What is wrong with the settings: one clear line each, with its place."""

import pytest
from support.config_files import SITE, problems, read, writer


@pytest.fixture
def write(tmp_path):
    return writer(tmp_path)


def test_a_variable_that_means_two_sites_is_a_mistake(write):
    path = write('[sites.a-b]\npipe = "x"\n[sites.a_b]\npipe = "x"\n')
    assert problems(path, environ={"COWORKER_SITES_A_B_PIPE": "y"}) == [
        "environment COWORKER_SITES_A_B_PIPE: may mean sites.a-b.pipe or sites.a_b.pipe: use -d"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[coworker\n", "1:10: expected ']' at the end of a table declaration"),
        ("[log]\nlevel = debug\n", "2:9: invalid value (text needs quotes)"),
        ('[log]\nlevel = "in', "2:12: unterminated string"),
        ("[log]\nlevel = 'a'\n\nlevel = 'b'\n", "4:12: log.level: given twice, the other is at line 2"),
        (
            SITE + "[log]\n[sites.example]\n",
            "4:15: sites.example: two sites of one name, the other is at line 1",
        ),
        (b'[log]\nlevel = "\xff"\n', "2: is not UTF-8"),
        ("[log]\nlevel = “debug”\n", "2:9: “ (U+201C) is a curly quote: write \" or '"),
        ('[log]\nlevel = "debug”\n', "2:15: ” (U+201D) is a curly quote: write \" or '"),
        ('[log]\nlevel = "debug”', "2:15: ” (U+201D) is a curly quote: write \" or '"),
        ('[log]\nlevel\u00a0= "debug"\n', "2:6: U+00A0 stands there, which is no blank in TOML"),
        ('[log]\n\u200blevel = "debug"\n', "2:1: U+200B stands there, which is no blank in TOML"),
        ("[lo\ufeffg]\n", "1:4: U+FEFF stands there, which is no blank in TOML"),
        ('[log]\nlevel = "“\u00a0”" x\n', "2:15: expected newline or end of document"),
        ("# “\nx = [1, # “", "2:12: invalid value"),
        ("x = " + "[" * 5000, " arrays or tables are nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml(write, text, problem):
    (listed,) = problems(write(text))
    assert listed.startswith(f"c.toml:{problem}")


def test_a_file_that_is_not_there_or_not_readable(tmp_path):
    assert problems(tmp_path / "c.toml") == ["c.toml: no such file"]
    (tmp_path / "d.toml").mkdir()
    assert problems(tmp_path / "d.toml") == ["d.toml: cannot be read: is a directory"]


UNKNOWN = [
    ("[sites.example]\npipe = 'x'\npip = 'y'", '3: sites.example.pip: unknown setting, did you mean "pipe"?'),
    (
        SITE + "[workers]\nmax_request = 1",
        '4: workers.max_request: unknown setting, did you mean "max_requests"?',
    ),
    (SITE + "workers = {cout = 1}", '3: sites.example.workers.cout: unknown setting, did you mean "count"?'),
    (
        SITE + 'queues."a/*".wait = 1',
        '3: sites.example.queues."a/*".wait: unknown setting, did you mean "weight"?',
    ),
    (
        SITE + "task_timeout = 1",
        '3: sites.example.task_timeout: unknown setting, did you mean "sites.example.workers.task_timeout"?',
    ),
    (
        "graceful_timeout = 1\n" + SITE,
        '1: graceful_timeout: unknown setting, did you mean "coworker.graceful_timeout"?',
    ),
    (SITE + "[logs]", '3: logs: unknown section, did you mean "log"?'),
    ("[site.example]\npipe = 'x'", '1: site: unknown section, did you mean "sites"?'),
    (SITE + "[monitor]", "3: monitor: unknown section; known here: coworker, log, workers, sites"),
    (
        "[sites.example.com]\npipe = 'x'",
        (
            "1: sites.example.com: unknown section; if the dot is part of the site's name, "
            'write [sites."example.com"]'
        ),
    ),
    (SITE + "[sites.example.queue.x]", '3: sites.example.queue: unknown section, did you mean "queues"?'),
]


@pytest.mark.parametrize(("text", "problem"), UNKNOWN)
def test_unknown_names_are_named_with_the_nearest_known_one(write, text, problem):
    assert problems(write(text)) == [f"c.toml:{problem}"]


LITERAL = "(for a literal ${ write $${)"
LEVELS = "debug, info, notice, warning, error, critical"
WRONG = [
    ("workers", "count = '4'", 'must be a whole number, not "4"'),
    ("workers", "count = true", "must be a whole number, not true"),
    ("workers", "count = 4.0", "must be a whole number, not 4"),
    ("workers", "count = 0", "0 is out of range, it must be 1 to 1000"),
    ("workers", "count = 1001", "1001 is out of range, it must be 1 to 1000"),
    ("workers", "boot_budget = 0", "0 is out of range, it must be 1 to 1000"),
    ("workers", "min_idle = -1", "-1 is out of range, it must be 0 to 1000"),
    ("workers", "max_age = '30s'", 'must be a number of seconds, not "30s"'),
    ("workers", "max_age = false", "must be a number of seconds, not false"),
    ("workers", "max_age = nan", "must be a number of seconds, not nan"),
    ("workers", "max_age = inf", "a huge number is out of range, it must be 0 to 31536000 seconds"),
    ("workers", "max_age = 1e30", "a huge number is out of range, it must be 0 to 31536000 seconds"),
    ("workers", "max_age = 1979-05-27", "must be a number of seconds, not a date or time"),
    ("workers", "max_age = [1]", "must be a number of seconds, not a list"),
    ("workers", "overlap = 1", "must be true or false, not 1"),
    ("workers", "overlap = 'yes'", 'must be true or false, not "yes"'),
    ("log", "level = 'inof'", f'"inof" is none of {LEVELS}, did you mean "info"?'),
    ("log", "level = {a = 1}", "must be text in quotes, not a table"),
    ("log", "file = ''", "must not be empty"),
    ("log", 'file = "a\\u0000b"', "must not contain a NUL character"),
    ("coworker", "run_dir = '~nobody-of-this-name/x'", '"~nobody-of-this-name/x": no such user'),
    ("coworker", "user = '${NOBODY}'", f"${{NOBODY}} is not set in the environment {LITERAL}"),
    ("coworker", "user = '${A:-b}'", f"${{A:-b}} names no environment variable {LITERAL}"),
    ("sites.b", "pipe = true", "must be text in quotes, not true"),
    ("sites.b", "pipe = ' '", "must not be empty"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "line", "problem"), WRONG)
def test_wrong_values(write, section, line, problem):
    name = line.split(" = ")[0]
    assert problems(write(f"{SITE}[{section}]\n{line}\n")) == [f"c.toml:4: {section}.{name}: {problem}"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("civicrm_version = 5.51", "civicrm_version: must be text in quotes, not 5.51"),
        ("civicrm_version = 'six'", 'civicrm_version: "six" is not a version (like "6.4" or "5.51.0")'),
        ("cwd = 'nowhere'", 'cwd: "nowhere": directory does not exist'),
        ("cwd = 'c.toml'", 'cwd: "c.toml": is not a directory'),
        ("poll_interval = 0", "poll_interval: 0 is out of range, it must be 0.01 to 3600 seconds"),
        ("workers = 0", "workers.count: 0 is out of range, it must be 1 to 1000"),
        ("workers = '4'", 'workers.count: must be a whole number, not "4"'),
        ("queues = 1", 'queues: must be a table: [sites.example.queues."PATTERN"]'),
        ("queues.x = 1", 'queues.x: must be a table: [sites.example.queues."PATTERN"]'),
        ("queues.x.weight = 0", "queues.x.weight: 0 is out of range, it must be 1 to 1000"),
        ("queues.''.weight = 1", 'queues."": the pattern is empty'),
    ],
)  # fmt: skip
def test_wrong_values_of_a_site(write, line, problem):
    assert problems(write(f"{SITE}{line}\n")) == [f"c.toml:3: sites.example.{problem}"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "c.toml: no site: give --pipe=COMMAND or a table [sites.NAME] with its pipe"),
        ("[sites]", "c.toml: no site: give --pipe=COMMAND or a table [sites.NAME] with its pipe"),
        ("sites = 1", "c.toml:1: sites: must be a table: [sites.NAME]"),
        ("[[sites]]\npipe = 'x'", "c.toml:1: sites: must be a table: [sites.NAME]"),
        ("sites.a = 'x'\n" + SITE, "c.toml:1: sites.a: must be a table: [sites.NAME]"),
        ("log = 'x'\n" + SITE, "c.toml:1: log: must be a table: [log]"),
        (
            "[sites.a]\nchannel = 'web'",
            "c.toml:2: sites.a.channel: is web, but web is not given",
        ),
        (
            "[sites.a]\nssh_options = '-p 1'",
            "c.toml:2: sites.a.ssh_options: is given, but ssh is not",
        ),
        (
            "[sites.a]\nssh = '-oProxyCommand=x'",
            "c.toml:2: sites.a.ssh: must be host or user@host; options go into ssh_options",
        ),
        (
            "[sites.a]\npipe = 'MINIPIPE vtl'\nssh = 'h'",
            "c.toml:2: sites.a.pipe: MINIPIPE is not on the host of ssh: give a command that is, as cv pipe vtl",  # noqa: E501
        ),
        (
            "[sites.a]\nweb = 'https://x.example/civicrm'\nweb_token = 'x'",
            (
                "c.toml:2: sites.a.web: must have {entity} and {action} once each, as "
                "https://example.com/civicrm/ajax/api4/{entity}/{action}"
            ),
        ),
        (
            "[sites.a]\nweb = 'https://x.example/{entity}/{action}'",
            "c.toml:2: sites.a.web: has no credential: give web_token_file",
        ),
        (
            "[sites.a]\nweb = 'https://x.example/{entity}/{action}?token=y'\nweb_token = 'x'",
            (
                "c.toml:2: sites.a.web: the credential is given more than once: web_token_file, "
                "web_token, or ?token= in web"
            ),
        ),
        (
            "[sites.a]\nweb = 'ftp://x.example/{entity}/{action}'\nweb_token = 'x'",
            (
                "c.toml:2: sites.a.web: must be a URL with https:// and a host, as "
                "https://example.com/civicrm/ajax/api4/{entity}/{action}"
            ),
        ),
        (
            "[sites.a]\npipe = 'x'\nweb_contact = 2",
            'c.toml:3: sites.a.web_contact: is for channel = "pipe,web" only',
        ),
        (
            "[sites.'a b']\npipe = 'x'",
            'c.toml:1: sites."a b": a site\'s name is made of letters, digits and . _ -',
        ),
        (
            "[sites.'..']\npipe = 'x'",
            'c.toml:1: sites."..": a site\'s name is made of letters, digits and . _ -',
        ),
    ],
)
def test_wrong_sites(write, text, problem):
    assert problems(write(text)) == [problem]


def test_no_site_and_no_file():
    assert problems() == ["no site: give --pipe=COMMAND or a table [sites.NAME] with its pipe"]


def test_two_sites_of_one_name_in_two_files(write):
    path = write(SITE)
    write("[log]\n" + SITE, "c.d/shop.toml")
    assert problems(path) == [
        "c.d/shop.toml:2: sites.example: two sites of one name, the other is at c.toml:1"
    ]


@pytest.mark.parametrize(
    ("text", "override", "problem"),
    [
        (
            SITE + "[workers]\ncount = 2\nmin_idle = 3",
            "log.level=info",
            "c.toml:5: workers.min_idle, 3 (c.toml:5), is more than workers.count, 2 (c.toml:4)",
        ),
        (
            SITE + "workers.min_idle = 3",
            "log.level=info",
            (
                "c.toml:3: sites.example.workers.min_idle, 3 (c.toml:3), "
                "is more than workers.count, 2 (the default)"
            ),
        ),
        (
            SITE + "[workers]\nmin_idle = 2",
            "sites.example.workers=1",
            (
                "c.toml:4: workers.min_idle, 2 (c.toml:4), is more than sites.example.workers.count, 1 "
                "(-d sites.example.workers=1)"
            ),
        ),
        (
            SITE,
            "sites.example.poll_interval_max=0.1",
            (
                "-d sites.example.poll_interval_max=0.1: sites.example.poll_interval, 0.2 (the default), "
                "is more than sites.example.poll_interval_max, 0.1 (-d sites.example.poll_interval_max=0.1)"
            ),
        ),
    ],
)
def test_settings_that_contradict_each_other(write, text, override, problem):
    assert problems(write(text), override) == [problem]


def test_defaults_that_no_site_uses_contradict_nothing(write):
    path = write("[workers]\ncount = 1\nmin_idle = 3\n" + SITE + "workers = 3\n")
    assert read(path).sites[0].workers.min_idle == 3


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("workers.count=x", 'must be a whole number, not "x"'),
        ("workers.count=", 'must be a whole number, not ""'),
        ("workers.count=1e2", 'must be a whole number, not "1e2"'),
        ("workers.count=99999999999999999999", 'must be a whole number, not "99999999999999999999"'),
        ("workers.slice=5s", 'must be a number of seconds, not "5s"'),
        ("workers.slice=nan", 'must be a number of seconds, not "nan"'),
        ("workers.overlap=maybe", 'must be true or false, not "maybe"'),
        ("log.level=lound", '"lound" is none of debug, info, notice, warning, error, critical'),
        ("wokers.count=1", 'unknown setting, did you mean "workers.count"?'),
        ("graceful_timeou=1", 'unknown setting, did you mean "graceful_timeout"?'),
        ("pip=1", "unknown setting"),
        ("sites.example.pip=x", 'unknown setting, did you mean "sites.example.pipe"?'),
        ("sites.example.worker.count=3", 'unknown setting, did you mean "sites.example.workers.count"?'),
        ("sites.example=3", "unknown setting"),
        ("a..b=3", "unknown setting"),
        ("=3", "must be KEY=VALUE"),
        ("workers.count", "must be KEY=VALUE"),
    ],
)
def test_wrong_overrides(write, override, problem):
    (listed,) = problems(write(SITE), override)
    assert listed.startswith(f"-d {override}: {problem}")


def test_every_mistake_is_listed_at_once_in_the_order_of_the_places(write):
    path = write("[workers]\nboot_budget = 0\n[log]\nlevel = 1\nfoo = 2\n[sites.example]\ncwd = '/nowhere'\n")
    write("[log]\nformat = 'xml'\n", "c.d/a.toml")
    write("[log\n", "c.d/b.toml")
    listed = problems(path, "slice=1", environ={"COWORKER_DURATION": "x"})
    places = [
        "c.toml:2",
        "c.toml:4",
        "c.toml:5",
        "c.toml:7",
        "c.d/a.toml:2",
        "c.d/b.toml:1",
        "environment COWORKER_DURATION",
        "-d slice=1",
    ]
    assert [problem.startswith(place + ":") for problem, place in zip(listed, places, strict=True)] == [
        True
    ] * 8


def test_a_secret_is_not_shown(write):
    (listed,) = problems(write(SITE + "[log]\nlevel = '${TOKEN}'\n"), environ={"TOKEN": "secret"})
    assert "${TOKEN}" in listed
    assert "secret" not in listed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[workers]\nmax_memory = 900\nhard_memory = 800\n",
            "2: workers.max_memory, 900 (c.toml:2), is more than workers.hard_memory, 800 (c.toml:3)",
        ),
        (
            "[sites.example.workers]\nhard_memory = 100\n",
            (
                "4: workers.max_memory, 512 (the default), is more than "
                "sites.example.workers.hard_memory, 100 (c.toml:4)"
            ),
        ),
        (
            "[sites.example.domains.two]\npipe = 'x'\n",
            "3: sites.example.domains.two: must be the number of a domain, as [sites.NAME.domains.2]",
        ),
        ("[sites.example.domains.2]\n", "3: sites.example.domains.2: pipe is missing, the command to start"),
        (
            "[sites.example.domains.2]\npipe = 'x'\npip = 'y'\n",
            '5: sites.example.domains.2.pip: unknown setting, did you mean "pipe"?',
        ),
    ],
)
def test_contradictions_and_domains(write, text, problem):
    whole = SITE + text if text.startswith("[sites.") else text + SITE
    assert problems(write(whole)) == [f"c.toml:{problem}"]


def test_no_hard_limit_of_memory_is_above_any_other(write):
    (site,) = read(write(SITE + "[workers]\nmax_memory = 900\nhard_memory = 0\n")).sites
    assert (site.workers.max_memory, site.workers.hard_memory) == (900, 0)


def test_a_domain_has_its_pipe_and_the_sites_directory_unless_it_says_otherwise(write, tmp_path):
    text = f"{SITE}cwd = '{tmp_path}'\n[sites.example.domains.2]\npipe = 'two'\n"
    (site,) = read(
        write(text),
        "sites.example.domains.3.pipe=three",
        environ={"COWORKER_SITES_EXAMPLE_DOMAINS_2_PIPE": "zwei"},
    ).sites
    assert {domain.number: domain.pipe for domain in site.domains} == {2: "zwei", 3: "three"}
    assert (site.for_domain(2).pipe, site.for_domain(2).cwd) == ("zwei", tmp_path)
    assert site.for_domain(9) is site
