"""What one sees: bars while it runs, and the closing table. The only place that knows rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coworker.demo.daemon_log import WorkerSeen
from coworker.demo.plan import QUEUES
from coworker.demo.play import Audience, DemoProgress
from coworker.demo.summary import Line, Summary

PLAIN_INTERVAL = 2.0  # seconds between two lines where there is no terminal
WORKERS_SHOWN = 8
BAR_WIDTH = 28  # characters
WIDE = 90  # characters of a terminal that has room for wider gaps
_COLUMNS = ("tasks", "ok", "retried", "failed", "tasks/s", "wait\np50", "wait\np95", "lost", "run\ntwice")


class Silence:
    """Nobody watches, as with --json."""

    def show(self, progress: DemoProgress) -> None: ...

    def close(self) -> None: ...


class PlainLines:
    """A line now and then, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_at = 0.0

    def show(self, progress: DemoProgress) -> None:
        if progress.seconds < self._next_at and progress.left:
            return
        self._next_at = progress.seconds + PLAIN_INTERVAL
        text = f"{progress.seconds:5.1f} s  {progress.ended:,} of {progress.tasks:,} tasks have ended"
        self._console.print(text, highlight=False)

    def close(self) -> None: ...


class Bars:
    """A bar for each queue and a line for each worker, redrawn in place and gone at the end."""

    def __init__(self, console: Console) -> None:
        # Drawn by our own loop: a thread of rich's could have a lock while the daemon is being forked.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, progress: DemoProgress) -> None:
        if not self._live.is_started:
            self._live.start()
        self._live.update(Group(_head(progress), _bars(progress), _workers(progress)), refresh=True)

    def close(self) -> None:
        self._live.stop()


def make_console() -> Console:
    """Make a console for standard output, without control codes unless it is a terminal that takes them."""
    capable = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    return Console(force_terminal=capable, soft_wrap=False)


def make_audience(console: Console) -> Audience:
    """Return bars on a terminal, lines elsewhere."""
    return Bars(console) if console.is_terminal else PlainLines(console)


def introduce(console: Console, tasks: int, workers: int) -> None:
    """Say before anything happens what is to be seen."""
    console.print(
        f"[bold]coworker demo[/]: {_count(tasks, 'task')} in {len(QUEUES)} queues of a temporary site, "
        f"{_count(workers, 'worker')}",
        highlight=False,
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _head(progress: DemoProgress) -> Text:
    text = Text.assemble(
        "\n",
        (f"{progress.ended:,}", "bold"),
        f" of {progress.tasks:,} tasks have ended",
        f"  {progress.seconds:.1f} s",
    )
    if progress.recycled:
        text.append(f"  {_count(progress.recycled, 'worker')} recycled", "dim")
    text.append("\n")
    return text


def _bars(progress: DemoProgress) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(width=BAR_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim", no_wrap=True, overflow="ellipsis")
    for queue in QUEUES:
        count = progress.counts[queue.name]
        ended = count - progress.left.get(queue.name, 0)
        bar = ProgressBar(
            total=max(1, count), completed=ended, width=BAR_WIDTH,
            complete_style="cyan", finished_style="green",
        )  # fmt: skip
        grid.add_row(queue.name, bar, f"{ended:,}/{count:,}", queue.about)
    return grid


def _workers(progress: DemoProgress) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="cyan", min_width=12)
    grid.add_column(no_wrap=True, justify="right", style="dim")
    grid.add_row("")
    shown = sorted(progress.workers.items())
    for slot, worker in shown[:WORKERS_SHOWN]:
        grid.add_row(f"worker {slot}", worker.queue, _say_done(worker))
    if len(shown) > WORKERS_SHOWN:
        grid.add_row(f"and {len(shown) - WORKERS_SHOWN} more", "", "")
    if not shown:
        grid.add_row("the daemon is starting", "", "")
    return grid


def _say_done(worker: WorkerSeen) -> str:
    return f"{worker.done:,} done" if worker.done else ""


def show_summary(console: Console, summary: Summary) -> None:
    """Show the closing table, and the verdict under it."""
    gap = 2 if console.width >= WIDE else 1
    table = Table(
        box=box.SIMPLE, padding=(0, 0, 0, gap), pad_edge=False, show_edge=False, show_footer=True,
        header_style="bold", footer_style="bold",
    )  # fmt: skip
    table.add_column("\nqueue", summary.total.name, style="cyan", no_wrap=True)
    for name, footer in zip(_COLUMNS, _cells(summary.total), strict=True):
        header = name if "\n" in name else f"\n{name}"
        table.add_column(header, footer, justify="right", no_wrap=True)
    for line in summary.lines:
        table.add_row(line.name, *_cells(line))
    console.print()
    console.print(table)
    console.print()
    for text in _verdict(summary, ascii_only=console.options.ascii_only):
        console.print(text, soft_wrap=True)


def _cells(line: Line) -> Sequence[str | Text]:
    tally = line.tally
    rate = "-" if line.rate is None else f"{line.rate:,.0f}"
    waits = [_say_seconds(line.wait_p50), _say_seconds(line.wait_p95)]
    numbers = [f"{number:,}" for number in (tally.tasks, tally.ok, tally.retried, tally.failed)]
    return [*numbers, rate, *waits, _alarm(tally.lost), _alarm(tally.run_twice)]


def _say_seconds(wait: float | None) -> str:
    return "-" if wait is None else f"{wait:.{1 if wait >= 10 else 2}f} s"


def _alarm(number: int) -> Text:
    return Text(f"{number:,}", style="bold red" if number else "green")


def _verdict(summary: Summary, *, ascii_only: bool) -> list[Text]:
    good, bad = ("OK:", "FAILED:") if ascii_only else ("✓", "✗")
    total = summary.total.tally
    facts = (
        f"{_count(total.tasks, 'task')} in {summary.seconds:.1f} s, {_count(summary.workers, 'worker')}, "
        f"{summary.recycled} recycled, {total.lost} lost, {total.run_twice} run twice"
    )
    if summary.passed:
        head = Text(f"{good} every task ended as it was made to", "bold green")
    else:
        head = Text(f"{bad} not every task ended as it was made to", "bold red")
    lines = [head, Text(f"  {facts}")]
    lines += [Text(f"  {problem}", "red") for problem in summary.problems]
    if summary.directory is not None:
        lines.append(Text(f"  the store and the logs are in {summary.directory}"))
    return lines
