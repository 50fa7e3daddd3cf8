"""`coworker check`: are the settings right?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coworker.config.connection import warnings
from coworker.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from coworker.config.settings import Config


@click.command("check")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path, readable=False),
    default=None,
    metavar="FILE",
    help="Default /etc/coworker.toml. Its drop-ins count too: for X.toml these are X.d/*.toml.",
)
@click.option(
    "-d", "--define", "definitions", multiple=True, metavar="KEY=VALUE", help="As for run: -d log.level=debug"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(path: Path | None, definitions: tuple[str, ...], as_json: bool) -> None:
    """Check the settings and start nothing.

    Prints OK, the sites and their limits over several queues; or every mistake at once: one line each with
    file, line and the nearest known name. The environment (COWORKER_...) and -d count as they would in a run.

    \b
    Examples:
      coworker check
      coworker check -c conf/coworker.toml
      coworker check -c site.toml -d sites.example.workers.count=4

    \b
    Exit status:
      0   the settings are right
      78  they are not
    """  # noqa: D301 - \b is click's
    # Loaded here, so that `coworker --help` does not pay for it.
    from coworker.cli.run import Source  # noqa: PLC0415

    try:
        config = Source.of(str(path) if path else None, {}, definitions)()
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "problems": error.problems}))
        else:
            for problem in error.problems:
                click.echo(problem, err=True)
        raise SystemExit(ExitCode.CONFIG) from None
    click.echo(json.dumps(_as_json(config)) if as_json else _as_text(config))
    if not as_json:
        for site, text in warnings(config):
            click.echo(f"warning: sites.{site}: {text}", err=True)


def _as_text(config: Config) -> str:
    names = ", ".join(site.name for site in config.sites)
    workers = sum(site.workers.count for site in config.sites)
    ok = f"OK: {_counted(len(config.sites), 'site')} ({names}), {_counted(workers, 'worker')}"
    return "\n".join([ok, *(f"{site.name}: {total}" for site in config.sites for total in site.totals)])


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(config: Config) -> dict[str, Any]:
    return {
        "ok": True,
        "files": [str(file) for file in config.files],
        "warnings": [{"site": site, "text": text} for site, text in warnings(config)],
        "sites": [
            {
                "name": site.name,
                "workers": site.workers.count,
                "concurrency_total": {total.pattern: total.limit for total in site.totals},
            }
            for site in config.sites
        ],
    }
