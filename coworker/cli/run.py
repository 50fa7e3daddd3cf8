"""`coworker run` and what it shares with `coworker debug`."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import partial
from pathlib import Path

import click

from coworker.config.load import load
from coworker.config.settings import Config

DEFAULT_FILE = Path("/etc/coworker.toml")
SITE = "main"  # the name of a site that is given on the command line
Overrides = list[tuple[str, str]]


def parse_override(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> Overrides:
    """`KEY=VALUE` into pairs."""
    pairs = []
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
        pairs.append((key.strip(), text))
    return pairs


def connection_overrides(pipe: str | None, cwd: str | None) -> Overrides:
    """A site of its own for --pipe and --cwd."""
    overrides = []
    if pipe is not None:
        overrides.append((f"sites.{SITE}.pipe", pipe))
    if cwd is not None:
        overrides.append((f"sites.{SITE}.cwd", str(Path(cwd).absolute())))
    return overrides


def own_directories(connection: Overrides, overrides: Overrides) -> Overrides:
    """Without a file each site gets directories of its own, so that two terminals can serve two sites."""
    given = {key.rpartition(".")[2] for key, _ in overrides}
    seed = "\0".join([str(Path.cwd()), *(value for _, value in connection)])
    suffix = hashlib.sha256(seed.encode()).hexdigest()[:8]
    own = []
    for name in ("run_dir", "state_dir"):
        if name not in given and f"COWORKER_{name.upper()}" not in os.environ:
            base = getattr(load(None, [*connection, *overrides], euid=os.geteuid()).coworker, name)
            own.append((f"coworker.{name}", str(base / f"run-{suffix}")))
    return own


def settings_of(
    file: str | None, connection: Overrides, overrides: Overrides
) -> tuple[Config, Path | None, Overrides]:
    """What the command line asks for: the settings, their file if there is one, and all overrides."""
    if file is not None:
        path: Path | None = Path(file)
    else:
        path = DEFAULT_FILE if DEFAULT_FILE.exists() and not connection else None
    own = own_directories(connection, overrides) if path is None and connection else []
    every = [*own, *connection, *overrides]
    return load(path, every, euid=os.geteuid()), path, every


def start(file: str | None, connection: Overrides, overrides: Overrides) -> None:
    """Run the daemon in the foreground, and exit with its code."""
    from coworker.processes.daemon import serve  # noqa: PLC0415 - not for --help

    config, path, every = settings_of(file, connection, overrides)
    sys.exit(serve(config, partial(load, path, every, euid=os.geteuid()), str(path or "command line")))


@click.command()
@click.option("-c", "--config", "file", metavar="FILE", help=f"Settings file (default: {DEFAULT_FILE}).")
@click.option("--pipe", metavar="CMD", help="The command that starts a CiviCRM pipe, such as 'cv pipe vtl'.")
@click.option("--cwd", metavar="DIR", help="Directory to start it in.")
@click.option(
    "-d", "overrides", metavar="KEY=VALUE", multiple=True, callback=parse_override,
    help="Override a setting, such as -d workers.count=4. Can be repeated.",
)  # fmt: skip
def run(file: str | None, pipe: str | None, cwd: str | None, overrides: Overrides) -> None:
    """Run the daemon in the foreground: workers take tasks from CiviCRM's queues and run them.

    \b
    One site, without any file:
      coworker run --pipe='cv pipe vtl' --cwd=/var/www/example.com
    The sites of a settings file:
      coworker run -c /etc/coworker.toml
    A site over SSH, with four workers:
      coworker run --pipe='ssh web1 cv pipe vtl' -d workers.count=4

    Ctrl-C or TERM stops gracefully: running tasks finish. A second one ends them at once and gives
    them back. HUP reads the settings again; see doc/signals.md for every signal.
    """  # noqa: D301
    start(file, connection_overrides(pipe, cwd), overrides)
