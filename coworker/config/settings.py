"""The frozen values that the rest of the program is given. Their defaults come from the table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from coworker.config.remote import seems_remote
from coworker.config.table import BY_NAME, IMPORTS, IMPORTS_TOTAL, Kind

POLL_LIMIT, WEB_POLL_LIMIT = 1.0, 5.0  # seconds


def _default(name: str) -> Any:
    """Return a dataclass default from the table, so that it is written once."""
    setting = BY_NAME[name]
    return float(setting.default or 0) if setting.kind is Kind.NUMBER else setting.default


@dataclass(frozen=True, slots=True)
class CoworkerSettings:
    """The section [coworker]. Times are in seconds; `duration` 0: no limit."""

    run_dir: Path
    state_dir: Path
    user: str | None = None
    allow_root: bool = _default("coworker.allow_root")
    graceful_timeout: float = _default("coworker.graceful_timeout")
    duration: float = _default("coworker.duration")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The section [log]. `file` is an absolute path, or "-"."""

    level: str = _default("log.level")
    format: str = _default("log.format")
    file: str = _default("log.file")
    looking: bool = _default("log.looking")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The section [workers], or what a site made of it, in seconds and MiB; a limit of 0 is none."""

    count: int = _default("workers.count")
    boot_budget: int = _default("workers.boot_budget")
    max_requests: int = _default("workers.max_requests")
    max_age: float = _default("workers.max_age")
    idle_timeout: float = _default("workers.idle_timeout")
    min_idle: int = _default("workers.min_idle")
    max_memory: int = _default("workers.max_memory")
    hard_memory: int = _default("workers.hard_memory")
    task_timeout: float = _default("workers.task_timeout")
    boot_timeout: float = _default("workers.boot_timeout")
    slice: float = _default("workers.slice")
    crash_limit: int = _default("workers.crash_limit")
    max_per_identity: int = _default("workers.max_per_identity")
    overlap: bool = _default("workers.overlap")


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """A section [sites.NAME.queues."PATTERN"]. Limits of 0 are none; task_timeout None: the site's.

    concurrency_total None: it is not given, so another pattern may give it.
    """

    pattern: str
    concurrency: int = _default("sites.NAME.queues.PATTERN.concurrency")
    weight: int = _default("sites.NAME.queues.PATTERN.weight")
    task_timeout: float | None = None
    concurrency_total: int | None = None


class Total(NamedTuple):
    """A limit of workers over all queues of a pattern together; 0: no limit. `preset`: nobody gave it."""

    pattern: str
    limit: int
    preset: bool = False

    def __str__(self) -> str:
        many = f"{self.limit} worker{'' if self.limit == 1 else 's'} at most" if self.limit else "no limit"
        return f"{self.pattern}: {many} on all of them together{' (preset)' if self.preset else ''}"


NO_TOTAL = Total("", 0)


@dataclass(frozen=True, slots=True)
class DomainSettings:
    """A section [sites.NAME.domains.NUMBER]: the pipe of one domain. cwd None: the site's."""

    number: int
    pipe: str
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """A section [sites.NAME]. Times are in seconds, `queues` in the order in which they are tried."""

    name: str
    cwd: Path | None
    pipe: str = ""  # "": to be detected, see civi.launch
    ssh: str | None = None
    ssh_options: str | None = None
    ssh_key_file: Path | None = None
    web: str | None = None
    web_token_file: Path | None = None
    web_token: str | None = field(default=None, repr=False)
    web_site_key_file: Path | None = None
    web_header: str = _default("sites.NAME.web_header")
    web_ca_file: Path | None = None
    web_contact: int | None = None
    channel: str | None = None
    watch_code: bool = _default("sites.NAME.watch_code")
    opcache: bool = _default("sites.NAME.opcache")
    allow_non_production: bool = _default("sites.NAME.allow_non_production")
    poll_interval: float = _default("sites.NAME.poll_interval")
    poll_interval_max: float | None = None  # None: see poll_limit
    civicrm_version: str = _default("sites.NAME.civicrm_version")
    sole_agent: bool = _default("sites.NAME.sole_agent")
    remote: bool | None = None  # None: to be guessed from the pipe
    workers: WorkerSettings = WorkerSettings()
    queues: tuple[QueueSettings, ...] = ()
    domains: tuple[DomainSettings, ...] = ()

    @property
    def channels(self) -> tuple[str, str]:
        """How control and workers reach the site: "pipe" or "web" each."""
        channel = self.channel
        if channel is None:
            piped = bool(self.pipe or self.ssh)
            channel = "pipe" if self.web is None else "pipe,web" if piped else "web"
        control, _, work = channel.partition(",")
        return control, work or control

    @property
    def needs_pipe(self) -> bool:
        return "pipe" in self.channels

    @property
    def is_hybrid(self) -> bool:
        """Whether control claims by pipe what workers run over HTTP."""
        return self.channels == ("pipe", "web")

    @property
    def poll_limit(self) -> float:
        """The most seconds between two looks. Over HTTP a look is two requests, some 100 ms of PHP."""
        usual = WEB_POLL_LIMIT if self.channels[0] == "web" else POLL_LIMIT
        return self.poll_interval_max or max(usual, self.poll_interval)

    @property
    def is_remote(self) -> bool:
        """Whether its PHP runs out of our reach: as was said, else as the connection seems (rule 9)."""
        if self.channels[1] == "web":
            return True
        return seems_remote(self.pipe) if self.remote is None else self.remote

    def for_domain(self, number: int | None) -> SiteSettings:
        """Return the site with the pipe of this domain in place of its own; None: as it is."""
        for domain in self.domains:
            if domain.number == number:
                return replace(self, pipe=domain.pipe, cwd=domain.cwd or self.cwd)
        return self

    def task_timeout(self, queue: str) -> float:
        """Return how many seconds one item of this queue may take."""
        return self.queue(queue).task_timeout or self.workers.task_timeout

    @property
    def totals(self) -> list[Total]:
        """The limits over all queues of a pattern, in the order in which they are tried."""
        given = [
            Total(queue.pattern, queue.concurrency_total)
            for queue in self.queues
            if queue.concurrency_total is not None
        ]
        hidden = any(fnmatchcase(IMPORTS, total.pattern) for total in given)
        return given if hidden else [*given, Total(IMPORTS, IMPORTS_TOTAL, preset=True)]

    def total(self, name: str) -> Total:
        """Return the limit that a queue shares with others: of the first matching pattern that gives one."""
        return next((total for total in self.totals if fnmatchcase(name, total.pattern)), NO_TOTAL)

    def queue(self, name: str) -> QueueSettings:
        """Return the settings of a queue: of the first pattern that matches its name, or the defaults."""
        return next((queue for queue in self.queues if fnmatchcase(name, queue.pattern)), QueueSettings("*"))


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked. `files` are the absolute paths of what was read, in that order.

    `plain_tokens`: the sites whose web_token stands in a file as it is.
    """

    coworker: CoworkerSettings
    log: LogSettings
    sites: tuple[SiteSettings, ...]
    files: tuple[Path, ...] = ()
    plain_tokens: tuple[str, ...] = ()
