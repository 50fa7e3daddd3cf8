"""The command line. Each command lives in a file of its own and is imported only when it is called."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Collection
from importlib import import_module
from typing import Any

import click

from coworker import __version__
from coworker.errors import ConfigError, CoworkerError, ExitCode
from coworker.text import one_line, printable

COMMANDS = {
    "run": "Run the daemon in the foreground.",
    "debug": "Run one worker, one task at a time, and log everything.",
    "check": "Check a settings file and name every mistake in it.",
    "doctor": "Check everything worth checking, and say what to do.",
    "detect": "Say which CiviCRM site this directory belongs to.",
    "launch-lines": "Print the commands that start a pipe of this site.",
    "demo": "See the daemon work: no CiviCRM, no set-up needed.",
    "pipe": "Serve Civi::pipe from a queue store in Python.",
}

DAEMONS = ("run", "debug")  # commands that begin with signals blocked, until they have handlers
IN_MODULE = {"launch-lines": "detect"}  # commands that share another's


class LazyGroup(click.Group):
    """A group that lists every command without importing it, so that `--help` and `--version` stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = IN_MODULE.get(cmd_name, cmd_name)
        command = getattr(import_module(f"coworker.cli.{module}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coworker")
def coworker() -> None:
    """The task runner for CiviCRM.

    \b
    coworker demo                        see it work
    coworker run                         run the tasks of the site in this directory
    coworker -c /etc/coworker.toml       the same as `coworker run -c /etc/coworker.toml`
    """  # noqa: D301


def main(arguments: list[str] | None = None, *, mask: Collection[int] | None = None) -> Any:
    """Run the command line; `coworker -c FILE` means `coworker run -c FILE`.

    `mask` are the signals that were blocked before all of them were, if they are.
    """
    _open_standard_streams()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version"):
        arguments.insert(0, "run")
    if mask is not None and (not arguments or arguments[0] not in DAEMONS):
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        return coworker.main(args=arguments, prog_name="coworker")
    except ConfigError as error:
        for problem in error.problems:
            click.echo(one_line(f"coworker: {problem}"), err=True)
        sys.exit(error.exit_code)
    except CoworkerError as error:
        click.echo(printable(f"coworker: {error}"), err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        _say_system_error(error)
        os._exit(ExitCode.FAILED)  # the interpreter would try once more to write what could not be written


def _open_standard_streams() -> None:
    """Open those that are closed, as a daemon's may be: the next file opened would take their place."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w"))


def _say_system_error(error: OSError) -> None:
    """Say in one line, if it can be said, that the disk is full, nobody reads us, or a directory is gone."""
    where = f"{error.filename}: " if error.filename else ""
    with contextlib.suppress(OSError):
        os.write(2, f"coworker: {where}{error.strerror or error}\n".encode(errors="replace"))
