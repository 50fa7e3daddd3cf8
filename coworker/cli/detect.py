"""`coworker detect` and `coworker launch-lines`: which site is this, and how is it started?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from coworker.civi.detect import Found, NoSiteError
from coworker.civi.detect import detect as find
from coworker.civi.launch import best, expand, lines, shell_directory
from coworker.errors import ExitCode

CWD = click.option("--cwd", metavar="DIR", type=click.Path(path_type=Path), help="Start the search there.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@CWD
@JSON
def detect(cwd: Path | None, *, as_json: bool) -> None:
    """Say which CiviCRM site this directory belongs to, and how it would be started.

    Sees files from the directory upwards, as `coworker run` without --pipe does; starts nothing.
    CIVICRM_BOOT, CIVICRM_SETTINGS and HTTP_HOST are honoured.

    \b
    Exit status:
      0   a site was found
      69  none, or it cannot be told which
    """  # noqa: D301
    found = _find(cwd, as_json=as_json)
    command = best(found, os.environ.get("PATH"))
    values = {
        "type": found.kind.name,
        "root": str(found.root),
        "cwd": str(found.cwd),
        "by": found.by,
        "url": found.url,
        "settings": [str(path) for path in found.settings],
        "around": [str(other.root) for other in found.outer],
        "command": command,
    }
    if as_json:
        click.echo(json.dumps({"found": True, **values}))
        return
    click.echo(f"{found.what} (by {found.by})")
    click.echo(
        f"settings: {', '.join(map(str, found.settings)) or 'none found: is CiviCRM installed there?'}"
    )
    for other in found.outer:
        click.echo(f"around it: {other.what}")
    click.echo(f"command:  {command}   in {found.cwd}")


@click.command("launch-lines")
@CWD
@JSON
def launch_lines(cwd: Path | None, *, as_json: bool) -> None:
    """Print every command that starts a pipe of this site, for `pipe = "..."`.

    The first is the one that `coworker run` would use. MINIPIPE is the bundled PHP adapter, printed also as
    what it stands for.
    """
    found = _find(cwd, as_json=as_json)
    first = best(found, os.environ.get("PATH"))
    known = dict(sorted(lines(found).items(), key=lambda each: each[1] != first))
    if as_json:
        click.echo(json.dumps({"found": True, "cwd": str(found.cwd), "lines": known}))
        return
    for line in known.values():
        click.echo(line)
    click.echo(f"# in {found.cwd}; MINIPIPE is: {expand('MINIPIPE')}", err=True)


def _find(cwd: Path | None, *, as_json: bool) -> Found:
    here = shell_directory(os.environ)
    try:
        return find(here / cwd if cwd else here, os.environ)
    except NoSiteError as error:
        if as_json:
            click.echo(json.dumps({"found": False, "reason": str(error)}))
        else:
            click.echo(f"coworker: {error}", err=True)
        raise SystemExit(ExitCode.UNAVAILABLE) from None
