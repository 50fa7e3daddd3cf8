"""Stands between the daemon and a site, and spoils one answer: the first, of all pipes, that holds a text.

    python interpose.py MARKER TEXT DEED COMMAND…

MARKER is a file that remembers the deed was done.
"""

import json
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


def answer(change):
    """A deed: what runItems answered, changed."""

    def deed(line):
        begin = line.index(b"{")  # behind the prefix
        response = json.loads(line[begin:])
        response["result"] = change(response["result"])
        return line[:begin] + json.dumps(response).encode() + b"\n"

    return deed


def with_id(entry, item_id):
    return {**entry, "item": {**entry["item"], "id": item_id}}


DEEDS = {
    "drop": drop,
    "tear": tear,
    "twice": twice,
    "die": die,
    "missing": answer(lambda found: found[:1] + found[2:]),
    "nothing": answer(lambda found: []),
    "extra": answer(lambda found: [*found, with_id(found[0], 987654)]),
    "unknown": answer(lambda found: [found[0], with_id(found[1], 987654), *found[2:]]),
    "odd": answer(lambda found: [found[0], {**found[1], "outcome": "fail"}, *found[2:]]),
    "null": answer(lambda found: [found[0], {**found[1], "outcome": None}, *found[2:]]),
    "number": answer(lambda found: [found[0], {**found[1], "outcome": 1}, *found[2:]]),
    "nameless": answer(lambda found: [found[0], {"item": found[1]["item"]}, *found[2:]]),
    "again": answer(lambda found: [*found, found[1]]),
    "contradicted": answer(lambda found: [*found, {**found[1], "outcome": "retry"}]),
    "integers": answer(lambda found: [with_id(entry, int(entry["item"]["id"])) for entry in found]),
    "strings": answer(lambda found: [with_id(entry, str(entry["item"]["id"])) for entry in found]),
    "reversed": answer(lambda found: found[::-1]),
    "indexed": answer(lambda found: {str(n): entry for n, entry in enumerate(found)}),
    "shapeless": answer(lambda found: [found[0], "ok", *found[2:]]),
    "text": answer(lambda found: "ok"),
    "null_result": answer(lambda found: None),
}


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
        for given in site.stdout:
            line = given
            if text.encode() in line and _is_first(marker):
                line = DEEDS[deed](line)
            os.write(1, line)


if __name__ == "__main__":
    main()
