"""A Civi::pipe server that misbehaves on request: every method of it is a fault, or `echo`.

Its whole boot can be scripted too: `--before TEXT` prints noise first, `--header JSON` replaces the
welcome, `--hang` and `--exit N` give none, `--stubborn` ignores TERM and the end of stdin,
`--refusal TEXT` and `--drop NAME` are for the options.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

WELCOME = '{"Civi::pipe":{"v":"6.13.3","t":"trusted","l":["login"]}}'
session = {"apiCheckPermissions": True, "apiError": "exception", "bufferSize": 524288, "responsePrefix": None}


def out(text):
    data = text.encode("latin-1")
    while data:
        data = data[os.write(1, data) :]


def answer(ident, result):
    out(f"{session['responsePrefix'] or ''}{json.dumps({'jsonrpc': '2.0', 'result': result, 'id': ident})}\n")


def refuse(ident, message):
    error = {"code": -32099, "message": message, "data": None}
    out(f"{session['responsePrefix'] or ''}{json.dumps({'jsonrpc': '2.0', 'error': error, 'id': ident})}\n")


def options(ident, params):
    session.update(params)
    if session.get("refusal"):
        refuse(ident, session["refusal"])
    else:
        answer(ident, {name: value for name, value in params.items() if name != session.get("drop")})


def raw(ident, params):
    """Write these pieces, each by itself. {prefix} and {id} are filled in; a number is a pause in seconds."""
    for piece in params:
        if isinstance(piece, float):
            time.sleep(piece)
        else:
            out(piece.replace("{prefix}", session["responsePrefix"] or "").replace("{id}", str(ident)))


def big(ident, params):
    answer(ident, "x" * params["bytes"])


def flood(ident, params):
    """Answer, then print and do not read meanwhile."""
    answer(ident, True)
    out("noise\n" * (params["bytes"] // 6))


def chatter(ident, params):
    """Print to stderr before the answer."""
    os.write(2, b"e" * params["bytes"] + b"the end")
    answer(ident, True)


def leave(ident, params):
    """Print and exit, perhaps with a child that keeps stdout open."""
    if params.get("child"):
        subprocess.Popen(["sleep", "1000"])
    os.write(2, params.get("stderr", "").encode())
    out(params.get("stdout", ""))
    os._exit(params.get("code", 0))


def hang(_ident, _params):
    while True:
        signal.pause()


def surroundings(ident, _params):
    fds = [entry.name for entry in Path("/proc/self/fd").iterdir()]
    answer(ident, {"path": os.environ.get("PATH"), "session": os.getsid(0), "fds": fds})


METHODS = {
    "options": options,
    "echo": answer,
    "raw": raw,
    "big": big,
    "flood": flood,
    "chatter": chatter,
    "leave": leave,
    "hang": hang,
    "surroundings": surroundings,
    "fail": refuse,
}


def serve():
    buffer = b""
    while True:
        while b"\n" not in buffer:
            data = os.read(0, 1 << 20)
            if not data:
                return
            buffer += data
        line, buffer = buffer.split(b"\n", 1)
        request = json.loads(line)
        if isinstance(request, list):
            results = [{"jsonrpc": "2.0", "result": call["params"][2], "id": call["id"]} for call in request]
            out(f"{session['responsePrefix'] or ''}{json.dumps(results)}\n")
        else:
            METHODS[request["method"]](request["id"], request["params"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", default="")
    parser.add_argument("--header", default=WELCOME)
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--exit", type=int)
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--refusal", help="answer options with this error")
    parser.add_argument("--drop", help="an option that this server does not take")
    arguments = parser.parse_args()
    session.update(refusal=arguments.refusal, drop=arguments.drop)
    out(arguments.before)
    if arguments.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if arguments.hang:
        hang(None, None)
    if arguments.exit is not None:
        sys.stderr.write("no site here\n")
        sys.exit(arguments.exit)
    out(arguments.header + "\n")
    serve()
    while arguments.stubborn:
        signal.pause()


if __name__ == "__main__":
    main()
