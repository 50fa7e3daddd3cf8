"""Stands between the daemon and a site, and spoils one answer: the first, of all pipes, that holds a text.

    python interpose.py MARKER TEXT DEED COMMAND…

MARKER is a file that remembers the deed was done.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path


def drop(_line):
    """Nothing comes."""
    return b""


def tear(line):
    """Somebody prints into the answer."""
    return line[: len(line) // 2] + b"Warning: torn apart\n" + line[len(line) // 2 :]


def twice(line):
    """The answer comes again."""
    return line + line


def die(_line):
    """The whole pipe is killed before the answer arrives."""
    os.killpg(0, signal.SIGKILL)


def spoil(site, marker, text, deed):
    """The site's command line with this in front."""
    command = site.command().removeprefix("exec ")
    return f"exec {sys.executable} {__file__} {marker} '{text}' {deed} {command}"


def _is_first(marker):
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def main():
    marker, text, deed, *command = sys.argv[1:]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as site:
        for answer in site.stdout:
            line = answer
            if text.encode() in line and _is_first(marker):
                line = {"drop": drop, "tear": tear, "twice": twice, "die": die}[deed](line)
            os.write(1, line)


if __name__ == "__main__":
    main()
