"""`python -m coworker`, and the command `coworker`: signals are held back before anything else is imported.

Until the daemon has its handlers a HUP or USR1 would end it, and PID 1 of a container would never see a TERM.
"""

import signal


def main() -> None:
    """Run the command line with all signals blocked, which `cli` undoes, or for a daemon `master.daemon`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    from coworker.cli import main as run_command_line  # noqa: PLC0415 - see above

    run_command_line(mask=before)


if __name__ == "__main__":
    main()
