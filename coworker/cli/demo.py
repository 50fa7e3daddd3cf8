"""`coworker demo`: see it work."""

from __future__ import annotations

import json
import sys

import click

from coworker.errors import ExitCode


@click.command(short_help="See the daemon work: no CiviCRM, no set-up needed.")
@click.option(
    "--tasks", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, metavar="N",
    help="How many tasks to make.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 1000), default=4, show_default=True, metavar="N",
    help="How many workers run them.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
def demo(tasks: int, workers: int, as_json: bool) -> None:
    """See the daemon work. It asks nothing, needs no CiviCRM and no network, and leaves nothing behind.

    A temporary site is made (`coworker pipe` on an SQLite file), with queues of every kind: quick and slow
    tasks, batches, a linear queue, tasks that fail twice or always, tasks that run as two contacts. The real
    daemon runs them and is stopped with TERM. The tasks write down themselves when they begin and end; from
    that, not from what the daemon says, comes the table:

    \b
      ok, failed   how the tasks ended            retried    tries beyond the first
      wait         from being put into the queue  lost       never came to their end
                   to being begun                 run twice  begun more often than they should
      recycled     workers replaced because they had served long enough

    Exit code 0: every task ended as it was made to, under the right identity, the linear ones in order, and
    nothing is left.
    \f
    Started as root it runs as root: its tasks are its own and touch nothing.
    """  # noqa: D301
    from coworker.demo import display  # noqa: PLC0415 - rich takes its time, and is needed only now
    from coworker.demo.play import Interrupted, play  # noqa: PLC0415

    console = display.make_console()
    try:
        if as_json:
            summary = play(tasks, workers, display.Silence())
            click.echo(json.dumps(summary.to_json(), indent=2))
        else:
            display.introduce(console, tasks, workers)
            summary = play(tasks, workers, display.make_audience(console))
            display.show_summary(console, summary)
    except Interrupted as interrupted:
        click.echo(f"coworker demo: {interrupted}", err=True)
        sys.exit(interrupted.exit_code)
    sys.exit(ExitCode.OK if summary.passed else ExitCode.FAILED)
