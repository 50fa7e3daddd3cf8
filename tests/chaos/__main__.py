"""`python -m tests.chaos`: attack a daemon at random, and see whether the books balance."""

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import click

from chaos.faults import WEIGHTS
from chaos.run import explain, run


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--tasks", default=400, show_default=True, help="Tasks to push.")
@click.option("--seed", default=1, show_default=True, help="Of the first run.")
@click.option("--runs", default=1, show_default=True, help="So many, each with the next seed.")
@click.option("--minutes", default=0.0, help="Go on for so long at least, with more tasks.")
@click.option("--without", default="", help=f"Faults to leave out, of {', '.join(WEIGHTS)}.")
@click.option("--php", is_flag=True, help="A PHP site behind MINIPIPE in place of the Python site.")
@click.option("--keep", is_flag=True, help="Keep the directory of a run with violations.")
def main(tasks, seed, runs, minutes, without, php, keep):
    failed = 0
    for each in range(seed, seed + runs):
        folder = Path(tempfile.mkdtemp(prefix="coworker-chaos-"))
        leave_out = [name for name in without.split(",") if name]
        result, world, faults = run(
            folder, tasks=tasks, seed=each, seconds=60 * minutes, without=leave_out, php=php
        )
        print(result, flush=True)
        for violation in result.violations:
            print(explain(world, faults, violation))
        if result.violations and keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
        failed += bool(result.violations)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
