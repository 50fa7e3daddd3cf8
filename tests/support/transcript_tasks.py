"""The Python tasks that stand for the PHP ones of the recorded sessions."""

import sys


def succeed(ctx):
    return True


def print_noise(ctx, number):
    print(f"NOISE {number}")
    return True


def throw(ctx):
    raise RuntimeError("this task always throws")


def leave(ctx, status):
    sys.exit(status)
