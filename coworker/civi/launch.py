"""Which command starts a pipe of a site: detected, bundled, or over SSH; and in which environment."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from coworker.civi.detect import Found, NoSiteError, detect
from coworker.config.remote import seems_remote
from coworker.config.settings import Config, SiteSettings
from coworker.errors import ConfigError
from coworker.unix.marks import TOKEN

ADAPTER = Path(__file__).with_name("minipipe.php")
FLAGS = "vtl"
_MINIPIPE = re.compile(r"(?:(?<=^)|(?<=[\s;&|(]))MINIPIPE(?=\s|$)")
_ALONE = re.compile(r"\s*(?:exec\s+)?(?:(?!CIVICRM_)[A-Za-z_]\w*=[^\s'\"$`;&|()]*\s+)*MINIPIPE(?=\s|$)")
_COMPOUND = re.compile(r"[;&|\n]")
_NOISY_FROM = 2  # SHELL_VERBOSITY: what a phar prints from this level on breaks the protocol (contract C)
# Whatever php.ini says for the web: new code must be seen, and nothing is preloaded.
_OPCACHE = ("enable_cli=1", "file_cache_only=1", "validate_timestamps=1", "preload=")
LONGEST_SOCKET = 107 - 17  # bytes: a socket's address, less what ssh appends while it makes it
MULTIPLEX_SECONDS = 5  # that a shared SSH connection outlives its last user


def environment(environ: Mapping[str, str], token: str = "") -> dict[str, str]:
    """Return the environment of a pipe. COWORKER_PIPE tells a site's code where it runs.

    By `token` all that the pipe starts is known (`unix.marks`).
    """
    adapted = {**environ, "COWORKER_PIPE": "1"}
    adapted.pop(TOKEN, None)  # of a pipe in which this daemon runs
    if token:
        adapted[TOKEN] = token
    verbosity = adapted.get("SHELL_VERBOSITY", "")
    if verbosity.strip().lstrip("+").isdecimal() and int(verbosity) >= _NOISY_FROM:
        adapted["SHELL_VERBOSITY"] = "1"
    return adapted


def expand(command: str, cache: Path | None = None) -> str:
    """Replace MINIPIPE in a shell line, where it stands as a command, by the bundled adapter.

    It stays where the line leads elsewhere: our files are not there. `cache` is the directory in which PHP
    is to keep its compiled code, if the line is one that `begins_with_adapter`; see civi.opcache.
    """
    if seems_remote(command):
        return command
    # Without exec a shell would wait beside each PHP.
    is_all = command.lstrip().startswith("MINIPIPE") and not _COMPOUND.search(command)
    options = "" if cache is None else "".join(f"-d {each} " for each in _opcache_options(cache))
    start = f"{'exec ' if is_all else ''}${{COWORKER_PHP:-php}} {options}{shlex.quote(str(ADAPTER))}"
    return _MINIPIPE.sub(lambda _: start, command)


def _opcache_options(cache: Path) -> list[str]:
    return [shlex.quote(f"opcache.{each}") for each in (*_OPCACHE, f"file_cache={cache}")]


def begins_with_adapter(command: str) -> bool:
    """Whether a shell line starts the bundled adapter as our own user, for the site of this directory.

    It does not if another command leads to it (sudo), or another directory, or another site.
    """
    return _ALONE.match(command) is not None and not _COMPOUND.search(command)


def uses_adapter(command: str) -> bool:
    """Whether a shell line starts the bundled adapter."""
    return _MINIPIPE.search(command) is not None


def settings_are_fresh(site: SiteSettings) -> bool:
    """Whether control is answered with the site's settings of now: over HTTP, and by MINIPIPE.

    Any other process answers with the settings of its boot.
    """
    return site.channels[0] == "web" or (uses_adapter(site.pipe) and not seems_remote(site.pipe))


def lines(found: Found, flags: str = FLAGS) -> dict[str, str]:
    """Return every shell line that starts a pipe of this site, by the program it needs (contract C)."""
    url = f" --url={shlex.quote(found.url)}" if found.url else ""
    is_modern = found.kind.name == "Drupal8"  # there is no civicrm_initialize() there (contract C)
    boot = '\\Drupal::service("civicrm")->initialize();' if is_modern else "civicrm_initialize();"
    known = {"cv": f"cv pipe {flags}{url}", "MINIPIPE": f"MINIPIPE{url} {flags}"}
    if found.kind.name == "WordPress":
        known["wp"] = f"wp civicrm pipe {flags}{url}"
        known["wp eval"] = f"wp eval 'civicrm_initialize(); Civi::pipe(\"{flags}\");'{url}"
    if found.kind.name in ("Drupal", "Drupal8", "Backdrop"):
        uri = f" --uri={shlex.quote(found.url)}" if found.url else ""
        known["drush"] = f"drush{uri} ev '{boot} Civi::pipe(\"{flags}\");'"
    return known


def best(found: Found, path: str | None) -> str:
    """Return the line of `cv` if that is on this PATH, else the one of the bundled adapter."""
    known = lines(found)
    if shutil.which("cv", path=path):
        return known["cv"]
    return known["MINIPIPE"]


def complete(config: Config, environ: Mapping[str, str] = os.environ) -> Config:
    """Give every site a command that gave none. Raises ConfigError with a line for each without one."""
    sites, problems = [], []
    for site in config.sites:
        try:
            sites.append(_complete(site, config, environ))
        except NoSiteError as error:
            problems.append(f"sites.{site.name}: {error}")
    if problems:
        raise ConfigError(problems)
    return replace(config, sites=tuple(sites))


def _complete(site: SiteSettings, config: Config, environ: Mapping[str, str]) -> SiteSettings:
    if site.ssh is not None:
        return replace(site, pipe=_over_ssh(site, config.coworker.run_dir), cwd=None)
    if not site.needs_pipe:
        return site
    if site.pipe:
        return site if site.cwd else replace(site, cwd=_linked_directory(environ))
    found = detect(site.cwd or shell_directory(environ), environ)
    return replace(site, pipe=best(found, environ.get("PATH")), cwd=found.cwd)


def _linked_directory(environ: Mapping[str, str]) -> Path | None:
    """Return the current directory if its name has links, to be followed anew at each boot; None if not.

    Only by that name is it found when the link leads to a new release, and the one we started in is deleted.
    """
    try:
        named = shell_directory(environ)
        return None if named == Path.cwd() else named
    except FileNotFoundError:
        return None


def shell_directory(environ: Mapping[str, str]) -> Path:
    """Return the current directory with its symbolic links, as a shell does. Raises FileNotFoundError."""
    here = Path.cwd()
    named = Path(environ.get("PWD") or here)
    try:
        return named if named.is_absolute() and named.samefile(here) else here
    except OSError:
        return here


def _digest(site: SiteSettings) -> str:
    """Return a short text that differs where the connection does."""
    parts = (site.ssh, site.ssh_options, site.ssh_key_file)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _over_ssh(site: SiteSettings, run_dir: Path) -> str:
    """Return the ssh that carries a pipe: it asks nobody, checks host keys, notices a dead link, is shared.

    N workers share one connection (ControlMaster), unless run_dir is too long for the path of a socket.
    """
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ConnectTimeout=15",
    ]
    socket = f"{run_dir}/ssh-{_digest(site)}"
    if len(socket) <= LONGEST_SOCKET:
        shared = ("ControlMaster=auto", f"ControlPath={socket}", f"ControlPersist={MULTIPLEX_SECONDS}")
        options += shared
    words = ["exec", "ssh", "-T", *(word for option in options for word in ("-o", option))]
    if site.ssh_key_file is not None:
        words += ["-i", str(site.ssh_key_file), "-o", "IdentitiesOnly=yes"]
    command = site.pipe or f"cv pipe {FLAGS}"
    if site.cwd is not None:
        home, _, rest = str(site.cwd).partition("~/")
        where = f"~/{shlex.quote(rest)}" if rest and not home else shlex.quote(str(site.cwd))
        command = f"cd {where} && {command}"
    given = f" {site.ssh_options}" if site.ssh_options else ""
    # What the user gave comes first: ssh takes the first value it is told for an option.
    head, tail = shlex.join(words[1:3]), shlex.join([*words[3:], "--", str(site.ssh), command])
    return f"exec {head}{given} {tail}"
