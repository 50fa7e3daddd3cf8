"""The command line: `python -m tests.benchmark NAME [OPTIONS]`."""

import sys
from pathlib import Path

import click
from support.daemon import EndedError

WORKERS = "1,2,4,8"


class Numbers(click.ParamType):
    """Whole numbers with commas between them."""

    name = "N,N,…"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is not a list of whole numbers from 1 on", param, ctx)
        return numbers


def repetitions(default=5):
    return click.option(
        "--repetitions",
        type=click.IntRange(1),
        default=default,
        show_default=True,
        help="How often; median (lowest-highest) are shown.",
    )


def workers(default=WORKERS):
    return click.option(
        "--workers", type=Numbers(), default=default, show_default=True, help="Workers: a row for each."
    )


def tasks(default, meaning):
    return click.option("--tasks", type=click.IntRange(1), default=default, show_default=True, help=meaning)


def sleeping(default):
    return click.option("--seconds", default=default, show_default=True, help="How long each task sleeps.")


def command(name, *options):
    """A benchmark: the function gets its own options, and its report is shown and saved."""

    def decorate(function):
        def run(*, as_json, save, **given):
            try:
                report = function(progress=_progress, **given)
            except (RuntimeError, AssertionError, EndedError) as error:  # the last two of support.daemon
                raise click.ClickException(str(error)) from error
            print(report.as_json() if as_json else report.as_table())
            if save:
                report.save(save)

        common = (
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table."),
            click.option(
                "--save",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="Write DIR/NAME.md and NAME.svg.",
            ),
        )
        for option in reversed((*options, *common)):
            run = option(run)
        return benchmark.command(name, help=function.__doc__)(run)

    return decorate


def on_a_site(function):
    """Options that say which site; the benchmark gets them as `where`."""

    def with_where(*, call_cost, boot_cost, pipe, fill, count, **given):
        from tests.benchmark.sites import Where

        if len({pipe is None, fill is None, count is None}) > 1:
            raise click.UsageError("--pipe, --fill and --count go together")
        return function(where=Where(call_cost, boot_cost, pipe, fill, count), **given)

    options = (
        click.option(
            "--call-cost", default=1.0, show_default=True, metavar="MS", help="CPU of each API call."
        ),
        click.option(
            "--boot-cost", default=700.0, show_default=True, metavar="MS", help="CPU of a pipe's boot."
        ),
        click.option("--pipe", metavar="CMD", help="A live site's pipe command, instead of the Python site."),
        click.option(
            "--fill",
            metavar="CMD",
            help="Adds {n} tasks to its {queue} with batch_limit {batch}, that sleep {seconds}.",
        ),
        click.option("--count", metavar="CMD", help="Prints how many items its {queue} has left."),
    )
    with_where.__doc__ = function.__doc__
    with_where.options = options
    return with_where


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmark():
    """Measure what the daemon adds to the cost of the site itself.

    The site is the Python one, in a temporary store ($TMPDIR says where), or a live one: see --pipe, --fill
    and --count of each benchmark. Its results are then coarse: how many tasks are left is asked, not which
    ran when. Give the machine nothing else to do meanwhile: the load is printed with the results.
    """


def _on_a_site(name, *options):
    """A benchmark that can be run on any site."""

    def decorate(function):
        given = on_a_site(function)
        return command(name, *options, *given.options)(given)

    return decorate


@_on_a_site(
    "throughput",
    tasks(3000, "Empty tasks in each run, times the root of batch_limit."),
    click.option(
        "--batch", type=Numbers(), default="1,5,20", show_default=True, help="batch_limit: a row for each."
    ),
    workers(),
    repetitions(),
)
def throughput_command(*, where, tasks, batch, workers, repetitions, progress):
    """Tasks a second and CPU a batch, beside bare pipes without a daemon."""
    from tests.benchmark.throughput import throughput

    return throughput(where, tasks, batch, workers, repetitions, progress)


@_on_a_site("latency", tasks(40, "Tasks in each repetition, one after the other."), repetitions())
def latency_command(*, where, tasks, repetitions, progress):
    """From enqueued to started, at an idle system; found by a look, and after a poke."""
    from tests.benchmark.latency import latency

    return latency(where, tasks, repetitions, progress)


@_on_a_site(
    "parallelism",
    click.option("--rounds", default=10, show_default=True, help="Tasks for each worker."),
    sleeping(1.0),
    workers("1,4,16,64"),
    repetitions(),
)
def parallelism_command(*, where, rounds, seconds, workers, repetitions, progress):
    """Tasks that sleep, on many workers, beside the ideal."""
    from tests.benchmark.parallelism import parallelism

    return parallelism(where, rounds, seconds, workers, repetitions, progress)


@_on_a_site(
    "many",
    click.option(
        "--queues", type=Numbers(), default="1,100,10000", show_default=True, help="A row for each."
    ),
    click.option(
        "--rows", type=Numbers(), default="100000", show_default=True, help="Of one queue: a row for each."
    ),
    repetitions(),
)
def many_command(*, where, queues, rows, repetitions, progress):
    """Many queues, and a queue of many rows: a look, a decision, the time to start."""
    from tests.benchmark.many import many

    return many(where, queues, rows, repetitions, progress)


@command("footprint", tasks(500, "Tasks for each worker to run before it is measured."), workers("2,8,32,64"))
def footprint_command(*, tasks, workers, progress):
    """Memory and descriptors of the master and its children."""
    from tests.benchmark.footprint import footprint

    return footprint(tasks, workers, progress)


@command("growth", tasks(200_000, "Empty tasks, in batches of 20."))
def growth_command(*, tasks, progress):
    """Private memory of the daemon's processes, as tasks go by."""
    from tests.benchmark.growth import growth

    return growth(tasks, progress)


@_on_a_site(
    "idle",
    click.option("--seconds", default=60.0, show_default=True, help="How long to watch, each time."),
    workers("2,8"),
    repetitions(),
)
def idle_command(*, where, seconds, workers, repetitions, progress):
    """CPU of a daemon that has nothing to do."""
    from tests.benchmark.idle import idle

    return idle(where, seconds, workers, repetitions, progress)


@_on_a_site(
    "recycling",
    click.option("--lives", default=5, show_default=True, help="Of each worker, in tasks of max_requests."),
    sleeping(0.02),
    click.option("--workers", type=click.IntRange(1), default=2, show_default=True),
    click.option("--max-requests", "limits", type=Numbers(), default="10,200", show_default=True),
    repetitions(),
)
def recycling_command(*, where, lives, seconds, workers, limits, repetitions, progress):
    """Throughput with workers that are replaced, beside one whose workers stay."""
    from tests.benchmark.recycling import recycling

    return recycling(where, lives, seconds, workers, limits, repetitions, progress)


@_on_a_site(
    "reload",
    sleeping(0.02),
    click.option("--calm", default=5.0, show_default=True, help="Seconds of undisturbed work before HUP."),
    workers("2,4"),
    repetitions(),
)
def reload_command(*, where, seconds, calm, workers, repetitions, progress):
    """The longest gap between two starts while HUP replaces all workers under load."""
    from tests.benchmark.reload import reload

    return reload(where, seconds, calm, workers, repetitions, progress)


@_on_a_site("boot", repetitions())
def boot_command(*, where, repetitions, progress):
    """From exec to the end of --version, and to the first task."""
    from tests.benchmark.boot import boot

    return boot(where, repetitions, progress)


def _progress(text):
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    benchmark(prog_name="python -m tests.benchmark")
