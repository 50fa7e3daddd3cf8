"""Tasks for the Python site: module:function, called with a context and the arguments of the item."""

import sys


def succeed(ctx):
    pass


def print_something(ctx, text):
    sys.stdout.write(text)


def fail(ctx):
    raise ValueError("this task always fails")


def leave(ctx):
    sys.exit(3)
