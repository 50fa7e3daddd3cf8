"""`coworker doctor`: what is wrong, or worth a thought, with this set-up?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import click

from coworker.cli.run import Source, with_options
from coworker.config.settings import Config
from coworker.doctor.findings import Finding, Mark, bad
from coworker.errors import ConfigError, ExitCode, SetupError

COLOURS = {"ok": "green", "warning": "yellow", "bad": "red"}


@click.command()
@click.argument("site", required=False)
@with_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(
    site: str | None, file: str | None, overrides: tuple[str, ...], *, as_json: bool, **given: str | None
) -> None:
    """Check everything worth checking, and say what to do. With SITE, only that site is checked.

    Boots each site once, as the daemon would, asks it a few questions, and claims nothing. Run it as the
    user of the daemon, or as root with coworker.user set.

    \b
    ✓ as it should be   ! worth a thought   ✗ a hindrance

    \b
    Exit status:
      0   no hindrance
      1   at least one ✗
    """  # noqa: D301
    try:
        config = Source.of(file, given, overrides)()
        findings: Iterator[Finding] = _findings(config, site)
    except ConfigError as error:
        findings = iter([bad("settings", problem) for problem in error.problems])
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            click.echo(click.style(str(finding)[0], COLOURS[finding.mark.value]) + str(finding)[1:])
    if as_json:
        fields = ("site", "check", "text", "advice")
        rows = [{"mark": f.mark.value, **{name: getattr(f, name) for name in fields}} for f in found]
        click.echo(json.dumps({"ok": all(f.mark is not Mark.BAD for f in found), "findings": rows}))
    if any(finding.mark is Mark.BAD for finding in found):
        raise SystemExit(ExitCode.FAILED)


def _findings(config: Config, only: str | None) -> Iterator[Finding]:
    from coworker.doctor import machine  # noqa: PLC0415
    from coworker.doctor.site import check_site  # noqa: PLC0415
    from coworker.master.daemon import become  # noqa: PLC0415

    sites = [site for site in config.sites if only in (None, site.name)]
    if not sites:
        raise click.BadParameter(
            f"there is no site {only}; there are {', '.join(s.name for s in config.sites)}"
        )
    yield from machine.check_settings(config)
    if config.coworker.user is not None:
        try:
            become(config.coworker.user)
        except SetupError as error:
            yield bad("user", str(error))
    yield from machine.check_directories(config)
    yield from machine.check_user(config)
    for site in sites:
        checks = (
            machine.check_limits(site),
            machine.check_files(site, os.environ),
            machine.check_command(site),
            check_site(site),
        )
        for check in checks:
            for finding in check:
                yield replace(finding, site=site.name)
