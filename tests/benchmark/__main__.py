"""The command line: `python -m tests.benchmark NAME [OPTIONS]`."""

import sys

import click

WORKERS = "1,2,4"


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
            self.fail(f"{value!r} is no list of whole numbers from 1 on", param, ctx)
        return numbers


as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not a table.")
call_cost = click.option(
    "--call-cost", default=1.0, show_default=True, metavar="MS", help="CPU time that each API call costs."
)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmark():
    """Measure what the daemon adds to the cost of the site itself.

    The site is the Python one, in a temporary store ($TMPDIR says where). Give the machine nothing else to
    do meanwhile: the load is printed with the results.
    """


@benchmark.command("throughput")
@click.option(
    "--tasks", type=click.IntRange(2), default=5000, show_default=True, help="Empty tasks in each run."
)
@click.option(
    "--batch", type=Numbers(), default="1,20", show_default=True, help="batch_limit: a row for each."
)
@workers()
@call_cost
@repetitions()
@as_json
def throughput_command(*, tasks, batch, workers, call_cost, repetitions, as_json):
    """Tasks a second and CPU a batch, beside bare pipes without a daemon."""
    from tests.benchmark.throughput import throughput

    _show(throughput(tasks, batch, workers, call_cost, repetitions, _progress), as_json)


@benchmark.command("footprint")
@click.option(
    "--tasks",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Tasks for each worker to run before it is measured.",
)
@workers("2,8")
@as_json
def footprint_command(*, tasks, workers, as_json):
    """Memory and descriptors of the master and its children."""
    from tests.benchmark.footprint import footprint

    _show(footprint(tasks, workers, _progress), as_json)


@benchmark.command("idle")
@click.option("--seconds", default=10.0, show_default=True, help="How long to watch, each time.")
@workers()
@call_cost
@repetitions(3)
@as_json
def idle_command(*, seconds, workers, call_cost, repetitions, as_json):
    """CPU of a daemon that has nothing to do."""
    from tests.benchmark.idle import idle

    _show(idle(seconds, workers, call_cost, repetitions, _progress), as_json)


@benchmark.command("boot")
@click.option(
    "--boot-cost", default=0.0, show_default=True, metavar="MS", help="CPU time that a pipe's boot costs."
)
@repetitions()
@as_json
def boot_command(*, boot_cost, repetitions, as_json):
    """From exec to the end of --version, and to the first task."""
    from tests.benchmark.boot import boot

    _show(boot(boot_cost, repetitions, _progress), as_json)


def _progress(text):
    print(f"… {text}", file=sys.stderr, flush=True)


def _show(report, as_json):
    print(report.as_json() if as_json else report.as_table())


if __name__ == "__main__":
    benchmark(prog_name="python -m tests.benchmark")
