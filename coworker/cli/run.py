"""`coworker run` and what it shares with `coworker debug`."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from coworker.civi import launch
from coworker.config.load import default_directories, load
from coworker.config.overrides import split_override
from coworker.config.settings import Config
from coworker.errors import SetupError

DEFAULT_FILE = Path("/etc/coworker.toml")
SITE = "main"  # the name of a site that is given on the command line
Overrides = list[tuple[str, str]]
Given = Mapping[str, Any]  # pipe, web, channel, cwd: None where they were not given

OPTIONS = (
    click.option("-c", "--config", "file", metavar="FILE", help=f"Settings file (default: {DEFAULT_FILE})."),
    click.option("--pipe", metavar="CMD", help="The command that starts a pipe, such as 'cv pipe vtl'."),
    click.option("--web", metavar="URL", help="Or over HTTP: the site's APIv4, with {entity} and {action}."),
    click.option("--channel", metavar="WAY", help="pipe, web, or pipe,web: control by pipe, work over HTTP."),
    click.option("--cwd", metavar="DIR", help="Directory to start in; a site found from there if no pipe."),
    click.option(
        "-d", "overrides", metavar="KEY=VALUE", multiple=True,
        help="Override a setting, such as -d workers.count=4. Can be repeated.",
    ),
)  # fmt: skip


def _shell_directory() -> Path | None:
    try:
        return launch.shell_directory(os.environ)
    except FileNotFoundError:
        return None


def with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that run and debug share."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings come from. It is called again at each reload; raises ConfigError.

    `here` is the directory that it was started in, as its shell names it. It goes there first: a link in that
    name may lead to a new release by now, and the directory of the old one be deleted.
    """

    path: Path | None
    overrides: Overrides
    adjust: Callable[[Config], Config] = lambda config: config
    euid: int = field(default_factory=os.geteuid)  # who started it; it may have become another user since
    here: Path | None = field(default_factory=_shell_directory)

    def __call__(self) -> Config:
        if self.here is not None:
            with suppress(OSError):
                os.chdir(self.here)
        return self.adjust(launch.complete(load(self.path, self.overrides, euid=self.euid)))

    @classmethod
    def of(cls, file: str | None, site: Given, texts: tuple[str, ...]) -> Source:
        """What the command line names: a file, or a site of its own, or what lies in /etc.

        With none of these it is the site that the current directory belongs to.
        """
        overrides = [split_override(text) for text in texts]
        own = _own_site(site)
        if file is None and not own and not DEFAULT_FILE.exists() and not _names_site(overrides):
            own = _own_site({"cwd": str(launch.shell_directory(os.environ))})
        if file is None and (own or not DEFAULT_FILE.exists()):
            return cls(None, [*_own_directories(own, overrides), *own, *overrides])
        return cls(Path(file) if file is not None else DEFAULT_FILE, [*own, *overrides])


def _own_site(given: Given) -> Overrides:
    site = [(f"sites.{SITE}.{name}", value) for name, value in given.items() if value is not None]
    return [(key, str(_here() / value) if key.endswith(".cwd") else value) for key, value in site]


def _names_site(overrides: Overrides) -> bool:
    return any(key.startswith("sites.") for key, _ in overrides)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise SetupError("the current directory does not exist any more; start in another") from None


def _own_directories(site: Overrides, overrides: Overrides) -> Overrides:
    """Give each site directories of its own, so that two terminals can serve two sites."""
    seed = "\0".join([str(_here()), *(value for _, value in site)])
    suffix = hashlib.sha256(os.fsencode(seed)).hexdigest()[:8]
    given = {key.rpartition(".")[2] for key, _ in overrides}
    own = []
    for name in ("run_dir", "state_dir"):
        if name not in given and not os.environ.get(f"COWORKER_{name.upper()}"):
            usual = default_directories(os.environ, os.geteuid())[name]
            own.append((f"coworker.{name}", str(usual.with_name(f"{usual.name}-{suffix}"))))
    return own


def start(source: Source) -> None:
    """Run the daemon in the foreground, and exit with its code."""
    from coworker.master.daemon import serve  # noqa: PLC0415 - not for --help

    sys.exit(serve(source(), source, str(source.path or _here())))


@click.command()
@with_options
def run(file: str | None, overrides: tuple[str, ...], **site: str | None) -> None:
    """Run the daemon in the foreground: workers take tasks from CiviCRM's queues and run them.

    \b
    The site that the current directory belongs to (see also coworker detect):
      coworker run
    One site, without any file:
      coworker run --pipe='cv pipe vtl' --cwd=/var/www/example.com
      coworker run --web='https://example.com/civicrm/ajax/api4/{entity}/{action}?token=XXX'
    The sites of a settings file:
      coworker run -c /etc/coworker.toml
    A site over SSH, with four workers:
      coworker run --pipe='ssh web1 cv pipe vtl' -d workers.count=4

    Ctrl-C or TERM stops gracefully: running tasks finish. A second one ends them at once and gives
    them back. HUP reads the settings again; see doc/signals.md for every signal.
    """  # noqa: D301
    start(Source.of(file, site, overrides))
