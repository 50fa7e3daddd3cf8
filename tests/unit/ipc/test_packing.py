"""Values survive being packed, and garbage is refused."""

import pytest

from coworker.ipc import packing
from coworker.model import SYSTEM, Identity, Item, Lease, QueueInfo, Unsettled


def test_items_survive_in_their_order():
    items = [
        Item("1"),
        Item("2", Identity(100, 1)),
        Item("3", Identity(100, 1)),
        Item("4", Identity(-1)),
        Item("5"),
    ]
    runs = packing.pack(items)
    assert runs == [[None, None, ["1"]], [100, 1, ["2", "3"]], [-1, None, ["4"]], [None, None, ["5"]]]
    assert packing.unpack(runs) == items
    assert packing.unpack(runs)[0].identity is SYSTEM


def test_outcomes_come_in_runs():
    assert packing.pack_runs([("1", "ok"), ("2", "ok"), ("3", "retry")]) == [
        ["ok", ["1", "2"]],
        ["retry", ["3"]],
    ]


@pytest.mark.parametrize(
    ("unpack", "value"),
    [
        (packing.unpack_queue, QueueInfo("q", "Sql", 5, 600, 1, 60, "abort")),
        (packing.unpack_lease, Lease(1.5, 0.1)),
        (packing.unpack_unsettled, Unsettled(["1"], ["2"], "x", True, False, True, 60, ["1"])),
    ],
)
def test_values_survive(unpack, value):
    assert unpack(list(value)) == value
    for garbage in (None, 3, [], ["q"] * 20, [[]]):
        with pytest.raises((TypeError, ValueError, LookupError)):
            unpack(garbage)
