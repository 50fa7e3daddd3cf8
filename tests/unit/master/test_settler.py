"""What control is asked to end, and when it is asked again."""

from random import Random

from support.dispatch_bench import Bench

from coworker.model import Lease


def test_settlements_are_asked_again_when_control_is_gone_and_later_when_the_site_fails():
    bench = Bench()
    bench.seen("q")
    bench.assign(1)
    bench.took(1, "1.1", ["1"])
    bench.dispatch.lost(bench.workers[1], "kill", 2.0, stopped_by_us=False, blameless=False)
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
