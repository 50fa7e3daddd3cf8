"""From files, environment and command line to one checked `Config`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coworker.config.check import NO_LIMIT_AT_ZERO, NOT_ABOVE, SITE_NAME, resolve, show
from coworker.config.connection import contradictions
from coworker.config.draft import Draft, Origin, Problem
from coworker.config.files import read_files
from coworker.config.overrides import read_command_line, read_environment
from coworker.config.settings import (
    Config,
    CoworkerSettings,
    DomainSettings,
    LogSettings,
    QueueSettings,
    SiteSettings,
    WorkerSettings,
)
from coworker.config.table import BY_NAME, SETTINGS, Key, Kind, dotted, find
from coworker.errors import ConfigError


def load(
    path: Path | None,
    overrides: Sequence[tuple[str, str]] = (),
    environ: Mapping[str, str] = os.environ,
    *,
    euid: int,
) -> Config:
    """Read and check everything. `path` None: no file at all.

    `overrides` are (dotted name, text) as of `-d`; `euid` decides on the default directories.
    Raises ConfigError with all problems, one line each.
    """
    draft = Draft()
    files = read_files(path, draft) if path else ()
    strongest = read_command_line(overrides, draft)
    read_environment(environ, draft)
    draft.values.update(strongest)
    values = _Values(draft, environ)
    values.check(path)
    if draft.problems:
        ordered = sorted(draft.problems, key=lambda problem: problem.origin[:2])
        raise ConfigError(list(dict.fromkeys(str(problem) for problem in ordered)))
    return Config(
        coworker=CoworkerSettings(
            **{**default_directories(environ, euid), **values.section("coworker", ("coworker",))}
        ),
        log=LogSettings(**values.section("log", ("log",))),
        sites=tuple(values.site(name) for name in draft.sites),
        files=files,
        plain_tokens=tuple(name for name in draft.sites if _is_plain(draft, ("sites", name, "web_token"))),
    )


def _is_plain(draft: Draft, key: Key) -> bool:
    """Whether a value stands in a file as it is, not as ${ENV}."""
    given = draft.values.get(key)
    return given is not None and not given.is_text and "${" not in str(given.value)


def default_directories(environ: Mapping[str, str], euid: int) -> dict[str, Path]:
    """Return `run_dir` and `state_dir` for when nobody gave them. systemd's come first, maybe several."""

    def absolute(name: str) -> str:
        value = environ.get(name, "").split(":")[0]
        return value if value.startswith("/") else ""

    run_dir = absolute("RUNTIME_DIRECTORY")
    state_dir = absolute("STATE_DIRECTORY")
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - raises nothing
    if euid == 0:
        return {
            "run_dir": Path(run_dir or "/run/coworker"),
            "state_dir": Path(state_dir or "/var/lib/coworker"),
        }
    runtime, state = absolute("XDG_RUNTIME_DIR"), absolute("XDG_STATE_HOME") or f"{home}/.local/state"
    fallback = f"/tmp/coworker-{euid}"  # noqa: S108 - who makes it checks its owner
    return {
        "run_dir": Path(run_dir or (f"{runtime}/coworker" if runtime else fallback)),
        "state_dir": Path(state_dir or f"{state}/coworker"),
    }


class _Values:
    """The values of a draft, each checked once; what is missing here was given wrongly or not at all."""

    def __init__(self, draft: Draft, environ: Mapping[str, str]) -> None:
        self.draft = draft
        self.values: dict[Key, Any] = {}
        for key, given in draft.values.items():
            setting = find(key)
            if setting:
                if setting.kind is Kind.DIRECTORY and (*key[:2], "ssh") in draft.values:
                    setting = replace(setting, kind=Kind.PATH_ELSEWHERE)
                try:
                    self.values[key] = resolve(setting, given, environ)
                except ValueError as error:
                    named = "" if given.is_text else f"{dotted(key)}: "
                    draft.problems.append(Problem(given.origin, f"{named}{error}"))

    def section(self, section: str, table: Key) -> dict[str, Any]:
        """Return the values given for the settings of a section, by the names of its dataclass."""
        keys = {setting.field: (*table, setting.field) for setting in SETTINGS if setting.section == section}
        return {field: self.values[key] for field, key in keys.items() if key in self.values}

    def site(self, name: str) -> SiteSettings:
        table = ("sites", name)
        workers = {**self.section("workers", ("workers",)), **self.section("workers", (*table, "workers"))}
        queues = tuple(
            QueueSettings(pattern, **self.section("sites.NAME.queues.PATTERN", (*table, "queues", pattern)))
            for pattern in self.draft.patterns(name)
        )
        domains = tuple(
            DomainSettings(
                int(number), **self.section("sites.NAME.domains.NUMBER", (*table, "domains", number))
            )
            for number in self.draft.domains(name)
        )
        given = {"cwd": None, **self.section("sites.NAME", table)}
        return SiteSettings(name, **given, workers=WorkerSettings(**workers), queues=queues, domains=domains)

    def check(self, path: Path | None) -> None:
        """Note the problems that can be seen only in the whole."""
        draft = self.draft
        if not draft.sites and not draft.doubtful & {(), ("sites",)}:
            origin = Origin(0, 0, str(path) if path else "")
            draft.problems.append(
                Problem(origin, "no site: give --pipe=COMMAND or a table [sites.NAME] with its pipe")
            )
        for name in draft.sites:
            self._check_site(name)
        for low, high in NOT_ABOVE:
            for name in draft.sites or [""]:
                self._check_pair(name, low, high)

    def _check_site(self, name: str) -> None:
        key = ("sites", name)
        origin = self.draft.tables[key]
        if not SITE_NAME.fullmatch(name):
            message = f"{dotted(key)}: a site's name is made of letters, digits and . _ -"
            self.draft.problems.append(Problem(origin, message))
        own = {name for name in self.draft.values if name[:2] == key and len(name) == 3}
        if own <= set(self.values) and not self.draft.doubtful & {(), key}:
            given = {field for *_, field in own} | ({"domains"} if self.draft.domains(name) else set())
            shape = SiteSettings(name, **{"cwd": None, **self.section("sites.NAME", key)})
            for field, wrong in contradictions(shape, given):
                by = self.draft.values.get((*key, field))
                text = f"{dotted((*key, field))}: {wrong}"
                self.draft.problems.append(Problem(by.origin if by else origin, text))
        for number in self.draft.domains(name):
            self._check_domain((*key, "domains", number))
        if "" in self.draft.patterns(name):
            at = (*key, "queues", "")
            self.draft.problems.append(Problem(self.draft.tables[at], f"{dotted(at)}: the pattern is empty"))

    def _check_domain(self, key: Key) -> None:
        origin = self.draft.tables[key]
        if not (key[3].isdecimal() and key[3].isascii() and 0 < int(key[3]) < 1_000_000_000):
            message = f"{dotted(key)}: must be the number of a domain, as [sites.NAME.domains.2]"
            self.draft.problems.append(Problem(origin, message))
        if (*key, "pipe") not in self.draft.values and key not in self.draft.doubtful:
            message = f"{dotted(key)}: pipe is missing, the command to start"
            self.draft.problems.append(Problem(origin, message))

    def _check_pair(self, site: str, low: str, high: str) -> None:
        """Note when the first of two settings of a site (without one: the defaults) is above the second."""
        smaller, larger = self._effective(site, low), self._effective(site, high)
        if smaller is None or larger is None or smaller[1] <= larger[1]:
            return
        if larger[1] == 0 and high in NO_LIMIT_AT_ZERO:
            return
        (low_key, low_value), (high_key, high_value) = smaller, larger
        given = [self.draft.values.get(key) for key in (low_key, high_key)]
        low_at, high_at = [each.origin.text if each else "the default" for each in given]
        message = (
            f"{dotted(low_key)}, {show(low_value)} ({low_at}), is more than "
            f"{dotted(high_key)}, {show(high_value)} ({high_at})"
        )
        origin = next(each.origin for each in given if each)  # the defaults themselves are in order
        self.draft.problems.append(Problem(origin, message))

    def _effective(self, site: str, field: str) -> tuple[Key, float] | None:
        """Return the key that decides and its value; None when it was given wrongly, or needs a site."""
        name = f"workers.{field}"
        keys: list[Key] = [("sites", site, "workers", field), ("workers", field)]
        if name not in BY_NAME:
            name, keys = f"sites.NAME.{field}", [("sites", site, field)]
        for key in keys:
            if key in self.draft.values:
                return (key, self.values[key]) if key in self.values else None
        default = BY_NAME[name].default
        return (keys[-1], float(default)) if default is not None and (site or len(keys) > 1) else None
