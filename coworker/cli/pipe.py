"""`coworker pipe`: the Python site. It is started for every worker, so it imports only what it needs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from coworker.claims.beginnings import TaskNotes

_FATAL = 255  # what PHP exits with after a fatal error


_HELP = """\
Serve CiviCRM's pipe protocol from a queue store, in Python.

One request a line on standard input, one answer a line on standard output, until the input ends.
Queues and items are those of CiviCRM (APIv4 Queue and QueueItem); tasks are Python callables
"module:function", called as function(ctx, *arguments). They are sought in the current directory and
where Python finds modules. Try it:

\b
  echo '["Queue","get",{"checkPermissions":false}]' |
    sed 's/.*/{"jsonrpc":"2.0","method":"api4","params":&,"id":1}/' |
    coworker pipe --store memory: vtl

A task is an item with data {"callback": "module:function", "arguments": [...], "title": "...", "runAs":
{"contactId": 1, "domainId": 1}}, the last three if need be. With a queue "a" made by Queue.create:

\b
  '["QueueItem","create",{"checkPermissions":false,"values":{"queue_name":"a",
    "data":{"callback":"builtins:id"}}}]'

What memory: keeps ends with the process; for a daemon, whose pipes share it, use a file.

\b
FLAGS says what the welcome line tells, one letter each (default vtl):
  v  the version              t  trusted: permission checks can be switched off
  l  whether one can log in   u  untrusted: they cannot
  j  the JSON-RPC version     (t or u is needed for any API call; not both)
"""


@click.command(help=_HELP, short_help="Serve Civi::pipe from a queue store in Python.")
@click.argument("flags", default="vtl", metavar="[FLAGS]")
@click.option(
    "--store", "url", required=True, metavar="URL", help="sqlite:///FILE, sqlite:////absolute/FILE or memory:"
)
@click.option("--domain", default=1, show_default=True, help="The domain that this pipe serves.")
@click.option("--as-version", metavar="VERSION", help="Behave like this CiviCRM (such as 5.77).")
@click.option("--boot-cost", default=0.0, metavar="MS", help="CPU time to burn before the welcome line.")
@click.option("--call-cost", default=0.0, metavar="MS", help="CPU time to burn in each API call.")
@click.option("--clock-offset", default=0.0, metavar="SECONDS", help="How far this site's clock is ahead.")
def pipe(
    *,
    flags: str,
    url: str,
    domain: int,
    as_version: str | None,
    boot_cost: float,
    call_cost: float,
    clock_offset: float,
) -> None:
    _act_like_php()
    from coworker.civiserver.errors import ApiError  # noqa: PLC0415
    from coworker.civiserver.release import DEFAULT_VERSION, Release  # noqa: PLC0415
    from coworker.civiserver.service import QueueService  # noqa: PLC0415
    from coworker.civiserver.session import Session, burn, serve  # noqa: PLC0415
    from coworker.civiserver.site_store import open_site  # noqa: PLC0415
    from coworker.civiserver.streams import Streams  # noqa: PLC0415
    from coworker.errors import ConfigError  # noqa: PLC0415  (late: usage errors and --help answer without them)

    try:
        release = Release(as_version or DEFAULT_VERSION)
    except ValueError as error:
        raise ConfigError(f"--as-version: {error}") from error
    burn(boot_cost / 1000)
    site = open_site(url, clock_offset=clock_offset)
    streams = Streams()
    service = QueueService(site, release, domain, guard=streams, notes=_task_notes())
    try:
        session = Session(service, flags, call_cost / 1000)
    except ApiError as error:
        click.echo(f"coworker pipe: {error}", err=True)
        sys.exit(_FATAL)
    serve(session, streams)
    site.close()
    streams.finish()


def _task_notes() -> TaskNotes | None:
    """Open the file of beginnings that a worker made for us; what a task starts does not see it."""
    from coworker.claims.beginnings import VARIABLE, TaskNotes  # noqa: PLC0415

    path = os.environ.pop(VARIABLE, None)
    try:
        return TaskNotes(path) if path else None
    except OSError as error:
        click.echo(f"coworker pipe: {path} cannot be written: {error.strerror}", err=True)
        return None


def _act_like_php() -> None:
    """Let signals simply kill, and modules beside the caller be imported."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
