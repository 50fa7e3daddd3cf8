"""What control is asked to end, and when it is asked again."""

from random import Random

import pytest
from support.dispatch_bench import Bench

from coworker.ipc import messages as m
from coworker.model import Lease, Unsettled


def test_settlements_are_asked_again_when_control_is_gone_and_later_when_the_site_fails():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.lost(bench.workers[1], Unsettled([], [], "kill"), 2.0)
    settler = bench.dispatch.settler
    book = settler.settlements

    def asked(control, now):
        return settler.orders(control, now, [], settler.due(now, in_haste=False))

    (order,) = asked(50, 4.0)
    assert (order.info.name, order.part.sent, order.leases) == ("q", ["1"], [Lease(1.0)])
    assert asked(50, 4.0) == []
    book.control_gone(49)
    assert asked(51, 4.0) == []
    book.control_gone(50)
    (again,) = asked(51, 5.0)
    assert again.ref == order.ref
    book.failed(order.ref, 5.0, Random(1))
    assert asked(51, 5.1) == []
    assert 5.3 < book.next_at() <= 5.5
    assert len(asked(51, 5.6)) == 1
    assert book.close(order.ref).cause == "kill"
    assert book.close(order.ref) is None


class Deaths:
    """Item 1, before item 2 in its batch, whose pipe dies again and again."""

    def __init__(self):
        self.bench, self.number = Bench(1), 0
        self.bench.seen("q", batch_limit=2)

    def of_a_signal(self, *, stopping=False, fates=("given_back", "given_back")):
        """It dies of a signal, and control says what became of the items. The ids that are not spared."""
        self.number += 1
        now, claim = float(self.number), f"1.{self.number}"
        self.bench.took(1, claim, ["1", "2"], now=now)
        worker, settler = self.bench.workers[1], self.bench.dispatch.settler
        end = Unsettled([], [], "TERM", stopped_by_us=stopping, signalled=True)
        self.bench.dispatch.lost(worker, end, now)
        ((ref, entry),) = settler.settlements.pending.items()
        named = [[item, fate, ""] for item, fate in zip(["1", "2"], fates, strict=True)]
        settler.settled(m.Settled(ref, named), now)
        return entry.part.unspared


def test_an_item_is_spared_twice_in_a_row():
    deaths = Deaths()
    assert [deaths.of_a_signal() for _ in range(3)] == [[], [], ["1"]]


def test_what_was_not_begun_is_not_counted_as_spared():
    deaths = Deaths()
    for _ in range(2):
        deaths.of_a_signal(fates=("finished", "given_back"))
    assert deaths.of_a_signal() == ["2"], "the first that is left was begun"


def test_at_a_stop_nothing_is_counted():
    deaths = Deaths()
    for _ in range(5):
        assert deaths.of_a_signal(stopping=True) == []


@pytest.mark.parametrize("how", ["outcome", "counted"])
def test_an_item_that_ended_or_died_of_its_own_is_spared_again(how):
    deaths = Deaths()
    deaths.of_a_signal()
    if how == "outcome":
        deaths.bench.dispatch.settler.spared_deaths.forget("q", ["1"])
    else:
        deaths.of_a_signal(fates=("try_counted", "given_back"))
    assert [deaths.of_a_signal() for _ in range(3)] == [[], [], ["1"]]
