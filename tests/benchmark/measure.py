"""Measuring in pairs, and what is said of several values."""

import statistics
from typing import NamedTuple


class Spread(NamedTuple):
    """Several values of one measure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values):
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))


def alternate(ours, reference, repetitions):
    """Call both in turn, A B A B …, so that what disturbs the machine disturbs both. Two lists."""
    results = ([], [])
    for _ in range(repetitions):
        for measure, found in zip((ours, reference), results, strict=True):
            found.append(measure())
    return results


def percentile(values, share):
    """The value below which this share (0 to 1) of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
