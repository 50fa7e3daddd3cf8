"""Every setting, declared once.

`SETTINGS` is the one table: the loader, the environment names, `-d KEY=VALUE`, conf/coworker.toml and
doc/config.md are all made from it. In a name, NAME stands for a site, PATTERN for a queue pattern, and
NUMBER for a domain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

Key = tuple[str, ...]  # ("sites", "example", "pipe")

YEAR = 31_536_000  # seconds; longer waits overflow what the system's calls take
# CiviCRM's imports, and how many workers all of them have together unless somebody says otherwise: side by
# side they deadlock in its database, and it then ends with rows that were never imported (contract D5).
IMPORTS, IMPORTS_TOTAL = "user_job_*", 1


class Kind(str, Enum):
    """The type of a setting. The value says what it must be, in messages and in the reference."""

    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    NUMBER = "a number"
    TEXT = "text"
    URL = "a URL"
    COMMAND = "a shell line"
    CHOICE = "one of"
    VERSION = "a version"
    PATH = "a path"
    DIRECTORY = "an existing directory"
    PATH_ELSEWHERE = "a path on another host"
    FILE = 'a path, or "-"'


class OnReload(str, Enum):
    """When a changed setting takes effect after a reload (HUP)."""

    AT_ONCE = "at once"
    NEW_WORKERS = "new workers"
    RESTART = "restart needed"


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of one setting. `low` and `high` are limits, both allowed themselves."""

    name: str
    kind: Kind
    default: bool | float | str | None  # None: `fallback` says in words what happens then
    help: str
    reload: OnReload = OnReload.AT_ONCE
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    fallback: str = ""
    example: str | int | bool = ""  # for the sample file, where there is no default to show
    required: bool = False
    secret: bool = False  # its value is never shown

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def field(self) -> str:
        return self.name.rpartition(".")[2]


def _seconds(name: str, default: float | None, low: float, text: str, **more: Any) -> Setting:
    more = {"high": YEAR, **more}
    return Setting(name, Kind.NUMBER, default, text, unit="seconds", low=low, **more)


def _whole(name: str, default: int | None, low: int, high: int, text: str, **more: Any) -> Setting:
    return Setting(name, Kind.INTEGER, default, text, low=low, high=high, **more)


SECTIONS = {
    "coworker": "The daemon itself.",
    "log": "What it says, and where to.",
    "workers": "The workers of a site: the defaults for every site. [sites.NAME.workers] overrides them.",
    "sites.NAME": "One table per site. NAME: letters, digits and . _ - (in quotes if it has a dot).",
    "sites.NAME.domains.NUMBER": (
        "A domain of a multisite that has pipes of its own. NUMBER: its id in CiviCRM. Tasks of domains that "
        "neither the site's pipe nor one of these serves are given back, with an error."
    ),
    "sites.NAME.queues.PATTERN": (
        "Queues that need something of their own. PATTERN: a shell pattern, in quotes; the first match wins "
        "(for concurrency_total: the first that gives it)."
    ),
}

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "coworker.run_dir", Kind.PATH, None, "Directory of the pid file.", OnReload.RESTART,
        fallback="$RUNTIME_DIRECTORY; /run/coworker for root; $XDG_RUNTIME_DIR/coworker; /tmp/coworker-UID",
        example="/run/coworker",
    ),
    Setting(
        "coworker.state_dir", Kind.PATH, None,
        "Directory for what outlives a restart. One daemon per directory.", OnReload.RESTART,
        fallback="$STATE_DIRECTORY; /var/lib/coworker for root; ${XDG_STATE_HOME:-~/.local/state}/coworker",
        example="/var/lib/coworker",
    ),
    Setting(
        "coworker.user", Kind.TEXT, None, "When started as root, the daemon becomes this user.",
        OnReload.RESTART,
        fallback="stays who started it", example="www-data",
    ),
    Setting(
        "coworker.allow_root", Kind.BOOLEAN, False, "Run as root. Otherwise root is refused.",
        OnReload.RESTART,
    ),
    _seconds(
        "coworker.graceful_timeout", 30, 0,
        "How long running tasks may go on at a stop. Then they are killed and given back.",
    ),
    _seconds(
        "coworker.duration", 0, 0, "Stop by itself after this time. 0: no limit.", reload=OnReload.RESTART
    ),
    Setting(
        "log.level", Kind.CHOICE, "info", "The least important level that is logged.",
        choices=("debug", "info", "notice", "warning", "error", "critical"),
    ),
    Setting(
        "log.format", Kind.CHOICE, "auto", "auto: text, in colour on a terminal. text: without colour.",
        choices=("auto", "text", "json"),
    ),
    Setting(
        "log.file", Kind.FILE, "-",
        'Where to: "-" for standard error, or a file, opened as coworker.user. USR1 reopens it.',
    ),
    Setting("log.looking", Kind.BOOLEAN, False, "Also log each look for work."),
    _whole("workers.count", 2, 1, 1000, "Workers at most."),
    _whole("workers.boot_budget", 1, 1, 1000, "How many of them may boot at once."),
    _whole(
        "workers.max_requests", 200, 0, 1_000_000_000,
        "A worker is replaced after so many, less up to 10 %, once its successor is ready. 0: no limit.",
        unit="items", reload=OnReload.NEW_WORKERS,
    ),
    _seconds(
        "workers.max_age", 600, 0, "A worker is replaced at this age, less up to 10 %. 0: no limit.",
        reload=OnReload.NEW_WORKERS,
    ),
    _seconds(
        "workers.idle_timeout", 60, 0,
        "A worker idle for so long leaves, down to min_idle of them. 0: no limit.",
    ),
    _whole("workers.min_idle", 1, 0, 1000, "Workers that stay when there is no work."),
    _whole(
        "workers.max_memory", 512, 0, 1_000_000_000,
        "A worker whose pipe and its children take more than this after a batch is replaced. 0: no limit.",
        unit="MiB", reload=OnReload.NEW_WORKERS,
    ),
    _whole(
        "workers.hard_memory", 1024, 0, 1_000_000_000,
        "A pipe that takes more than this, with its children, is killed with its task. 0: no limit.",
        unit="MiB", reload=OnReload.NEW_WORKERS,
    ),
    _seconds("workers.task_timeout", 1800, 0.1, "A task that takes longer is killed."),
    _seconds("workers.boot_timeout", 30, 0.1, "A worker must be ready this soon after it was started."),
    _seconds("workers.slice", 0.5, 0, "Time on one queue, then another's turn. 0: one batch.", high=3600),
    _whole(
        "workers.crash_limit", 2, 0, 1000,
        "A task that brought down so many workers is not called again: CiviCRM then deletes it, or aborts "
        "its queue, as the queue says. 0: no limit.",
    ),
    _whole(
        "workers.max_per_identity", 0, 0, 1000,
        "Workers at most that run tasks of one contact at the same time. Tasks of the system do not count. "
        "0: no limit.",
    ),
    Setting(
        "workers.overlap", Kind.BOOLEAN, True,
        "A worker at its limit goes on until its successor is ready. false: it stops at the limit, and its "
        "place is empty until the successor has booted.",
    ),
    Setting(
        "sites.NAME.pipe", Kind.COMMAND, None,
        "The command that starts a CiviCRM pipe, run in cwd. Its $VARIABLES are the shell's: never logged. "
        "MINIPIPE in it is the bundled PHP adapter.",
        OnReload.NEW_WORKERS,
        fallback="cv pipe vtl where there is cv, else MINIPIPE vtl, for the site found from cwd upwards",
        example="cv pipe vtl",
    ),
    Setting(
        "sites.NAME.cwd", Kind.DIRECTORY, None,
        "Directory the pipe is started in, and where the search for the site begins. With ssh: over there.",
        OnReload.NEW_WORKERS,
        fallback="the daemon's own, as its shell names it", example="/var/www/example.com/web",
    ),
    Setting(
        "sites.NAME.ssh", Kind.TEXT, None,
        "Run the pipe on this host, over SSH: host or user@host. All workers share one connection. The key "
        "of the host must be known already.", OnReload.NEW_WORKERS,
        fallback="the pipe runs here", example="www-data@web1.example.com",
    ),
    Setting(
        "sites.NAME.ssh_options", Kind.COMMAND, None, "More options for that ssh, as a shell reads them.",
        OnReload.NEW_WORKERS, fallback="none", example="-p 2222",
    ),
    Setting(
        "sites.NAME.ssh_key_file", Kind.PATH, None, "The private key for that ssh, without a passphrase.",
        OnReload.NEW_WORKERS, fallback="as ssh finds it", example="/etc/coworker/id_ed25519",
    ),
    Setting(
        "sites.NAME.web", Kind.URL, None,
        "Where the site's APIv4 is, with {entity} and {action}. Needs httpx, and a credential.",
        OnReload.NEW_WORKERS, fallback="not over HTTP",
        example="https://example.com/civicrm/ajax/api4/{entity}/{action}", secret=True,
    ),
    Setting(
        "sites.NAME.web_token_file", Kind.PATH, None,
        "A file with the credential: the API key, or JWT, of a contact who may administer queues.",
        OnReload.NEW_WORKERS, fallback="none", example="/etc/coworker/example.token",
    ),
    Setting(
        "sites.NAME.web_token", Kind.TEXT, None,
        "The credential itself. Better in a file, or in the environment.", OnReload.NEW_WORKERS,
        fallback="none", example="${EXAMPLE_TOKEN}", secret=True,
    ),
    Setting(
        "sites.NAME.web_site_key_file", Kind.PATH, None,
        "A file with CIVICRM_SITE_KEY, sent as X-Civi-Key: needed unless the contact may authenticate with "
        "api key, or the credential is a JWT.", OnReload.NEW_WORKERS,
        fallback="not sent", example="/etc/coworker/example.key",
    ),
    Setting(
        "sites.NAME.web_header", Kind.CHOICE, "X-Civi-Auth",
        "The header of the credential. Many web servers drop Authorization.", OnReload.NEW_WORKERS,
        choices=("X-Civi-Auth", "Authorization"),
    ),
    Setting(
        "sites.NAME.web_ca_file", Kind.PATH, None, "Certificates to trust, in place of the system's.",
        OnReload.NEW_WORKERS, fallback="the system's", example="/etc/coworker/ca.pem",
    ),
    _whole(
        "sites.NAME.web_contact", None, 1, 1_000_000_000,
        "For channel pipe,web: tasks of the system run as this contact, with tokens of a few minutes that "
        "are made through the pipe. It must be a user who may administer queues.",
        reload=OnReload.NEW_WORKERS, fallback="with the credential", example=2,
    ),
    Setting(
        "sites.NAME.channel", Kind.CHOICE, None,
        "How control (looks, settles) and workers (run tasks) reach the site; one word: both the same way.",
        OnReload.NEW_WORKERS, choices=("pipe", "web", "pipe,web", "web,pipe"),
        fallback="web if only that is given, pipe,web if both are, else pipe", example="pipe,web",
    ),
    _seconds(
        "sites.NAME.poll_interval", 0.2, 0.01,
        "Time between two looks for work while there is none.", high=3600,
    ),
    _seconds(
        "sites.NAME.poll_interval_max", None, 0.01,
        "It is stretched up to this, so that looking takes less than 2 % of the time.", high=3600,
        fallback="1, over HTTP 5, and not less than poll_interval", example=2,
    ),
    Setting(
        "sites.NAME.civicrm_version", Kind.VERSION, "5.51", "The site's CiviCRM must be at least this.",
        OnReload.NEW_WORKERS,
    ),
    Setting(
        "sites.NAME.sole_agent", Kind.BOOLEAN, False,
        "Nobody else claims from these queues: no other daemon, no browser that runs an import. Then what "
        "a pipe claimed in its last moment is given back at once, not at the end of its lease.",
    ),
    Setting(
        "sites.NAME.remote", Kind.BOOLEAN, None,
        "The PHP runs where its processes cannot be killed from here: tasks are sent one by one, and one "
        "whose pipe was lost is left to end by itself.", OnReload.NEW_WORKERS,
        fallback="guessed from the pipe (ssh, docker, podman, kubectl, drush @ALIAS, wp --ssh)", example=True,
    ),
    Setting(
        "sites.NAME.watch_code", Kind.BOOLEAN, True,
        "Replace all workers once when the site's code changes: CiviCRM, its extensions, its libraries, or "
        "where a symbolic link points. Until then old code claims nothing: at once when cwd leads elsewhere, "
        "else within a second or two. Where the files are local.",
    ),
    Setting(
        "sites.NAME.opcache", Kind.BOOLEAN, True,
        "Keep the code that PHP has compiled below state_dir, so that a boot takes a fraction of the time. "
        "For a pipe that is MINIPIPE, where PHP has OPcache.",
        OnReload.NEW_WORKERS,
    ),
    Setting(
        "sites.NAME.allow_non_production", Kind.BOOLEAN, False,
        "Work also where CiviCRM's setting environment is not Production. A copy of a site has its queues, "
        "too: its mails would be sent twice.",
    ),
    _whole(
        "sites.NAME.workers", None, 1, 1000,
        "A number: short for workers.count. Or a table that overrides [workers].",
        fallback="as in [workers]", example=4,
    ),
    Setting(
        "sites.NAME.domains.NUMBER.pipe", Kind.COMMAND, None,
        "The command that starts a pipe of this domain.", OnReload.NEW_WORKERS,
        example="cv pipe vtl --url=https://two.example.com", required=True,
    ),
    Setting(
        "sites.NAME.domains.NUMBER.cwd", Kind.DIRECTORY, None, "Directory it is started in.",
        OnReload.NEW_WORKERS, fallback="the site's", example="/var/www/example.com/web",
    ),
    _whole(
        "sites.NAME.queues.PATTERN.concurrency", 0, 0, 1000,
        "Workers on one such queue at most. 0: no limit.",
    ),
    _whole(
        "sites.NAME.queues.PATTERN.concurrency_total", None, 0, 1000,
        "Workers on all such queues together at most. 0: no limit.",
        fallback=f"{IMPORTS_TOTAL} for {IMPORTS}, imports, which lose rows side by side; else no limit",
        example=2,
    ),
    _whole("sites.NAME.queues.PATTERN.weight", 1, 1, 1000, "Turns it gets, compared with other queues."),
    _seconds(
        "sites.NAME.queues.PATTERN.task_timeout", None, 0.1, "task_timeout for such queues.",
        fallback="the site's", example=600,
    ),
)  # fmt: skip

PLURALS = {"queues": "PATTERN", "domains": "NUMBER"}  # tables of tables within a site
NEED_RESTART = tuple(setting.name for setting in SETTINGS if setting.reload is OnReload.RESTART)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def find(key: Key) -> Setting | None:
    """Return the declaration of a concrete key, as ("sites", "example", "workers", "count")."""
    parts = list(key)
    if parts[:1] == ["sites"]:
        if parts[2:3] == ["workers"] and len(parts) == 4:
            return BY_NAME.get(f"workers.{parts[3]}")
        parts[1:2] = ["NAME"]
        if len(parts) > 3 and parts[2] in PLURALS:
            parts[3] = PLURALS[parts[2]]
    setting = BY_NAME.get(".".join(parts))
    return setting if setting and setting.name.count(".") == len(key) - 1 else None


def dotted(key: Key) -> str:
    """Return the key as one writes it, with quotes where TOML needs them."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in key)


def env_name(key: Key) -> str:
    """Return the variable of a key, as COWORKER_SITES_EXAMPLE_PIPE. [coworker] itself is left out."""
    parts = key[1:] if key[0] == "coworker" else key
    return "_".join(["COWORKER", *(re.sub(r"[^A-Za-z0-9]", "_", part).upper() for part in parts)])
