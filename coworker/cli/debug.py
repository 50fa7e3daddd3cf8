"""`coworker debug`: as little in parallel and as much in the log as can be."""

from __future__ import annotations

from dataclasses import replace

import click

from coworker.cli.run import Source, start, with_options
from coworker.config.settings import Config


def _debugging(config: Config) -> Config:
    sites = tuple(
        replace(site, workers=replace(site.workers, count=1, min_idle=0, max_requests=1, overlap=False))
        for site in config.sites
    )
    return replace(config, sites=sites, log=replace(config.log, level="debug", looking=True))


@click.command()
@with_options
def debug(file: str | None, overrides: tuple[str, ...], **site: str | None) -> None:
    """Run one worker, one task for each boot of CiviCRM, and log everything.

    \b
      coworker debug --pipe='cv pipe vtl' --cwd=/var/www/example.com

    The same daemon as `coworker run`, with one worker a site, max_requests = 1, overlap = false,
    log.level = debug and log.looking = true, whatever the settings say.
    """  # noqa: D301
    start(replace(Source.of(file, site, overrides), adjust=_debugging))
