"""`coworker debug`: as little in parallel and as much in the log as can be."""

from __future__ import annotations

import click

from coworker.cli.run import DEFAULT_FILE, Overrides, connection_overrides, parse_override, start

DEBUGGING: Overrides = [
    ("workers.count", "1"),
    ("workers.max_requests", "1"),
    ("workers.overlap", "false"),
    ("log.level", "debug"),
    ("log.looking", "true"),
]


@click.command()
@click.option("-c", "--config", "file", metavar="FILE", help=f"Settings file (default: {DEFAULT_FILE}).")
@click.option("--pipe", metavar="CMD", help="The command that starts a CiviCRM pipe, such as 'cv pipe vtl'.")
@click.option("--cwd", metavar="DIR", help="Directory to start it in.")
@click.option(
    "-d", "overrides", metavar="KEY=VALUE", multiple=True, callback=parse_override,
    help="Override a setting. Can be repeated.",
)  # fmt: skip
def debug(file: str | None, pipe: str | None, cwd: str | None, overrides: Overrides) -> None:
    """Run one worker, one task for each boot of CiviCRM, and log everything.

    \b
      coworker debug --pipe='cv pipe vtl' --cwd=/var/www/example.com

    The same daemon as `coworker run`, with these settings: one worker, max_requests = 1, overlap = false,
    log.level = debug, log.looking = true. -d overrides them too.
    """  # noqa: D301
    start(file, connection_overrides(pipe, cwd), [*DEBUGGING, *overrides])
