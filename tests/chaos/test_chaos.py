"""A short run of `make chaos`, and that it would find what it looks for."""

from random import Random

import pytest

from tests.chaos.balancer import find_haproxy
from tests.chaos.faults import planned, possible
from tests.chaos.ledger import Ledger, text_of
from tests.chaos.run import Plan, run
from tests.chaos.setting import KINDS

QUICK = ("node-kill", "node-drain", "redis-kill", "redis-cut", "clients-killed", "http-cut")
EVERYBODY = frozenset({"here", "there"})


@pytest.mark.skipif(find_haproxy() is None, reason="HAProxy is not installed")
async def test_a_storm_behind_haproxy_loses_nothing_and_all_go_on() -> None:
    plan = Plan(KINDS["always"], seconds=8, seed=430, faults=QUICK, rate=60)
    told: list[str] = []
    ledger = await run(plan, told.append)
    assert not ledger.broken, "\n".join([*told, ledger.report()])
    assert ledger.counts["fault: redis-kill"]
    assert len(ledger.sent) > 100
    assert all(sent.acknowledged is not None for sent in ledger.sent.values())


async def test_the_ledger_finds_what_is_lost_and_what_is_out_of_order() -> None:
    ledger = Ledger()
    for number in (1, 2, 3):
        ledger.publishes(f"a.{number}", EVERYBODY, one=False, exact=True)
        ledger.acknowledged(f"a.{number}")
        _deliver(ledger, "here", f"a.{number}", f"here-{number}")
    _deliver(ledger, "there", "a.3", "there-1")
    _deliver(ledger, "there", "a.1", "there-2")
    ledger.close()
    assert "lost, 1 times" in ledger.report()
    assert "a.2 for there" in ledger.report()
    assert "there got a.1 after a.3" in ledger.report()


async def test_a_repeat_may_come_twice_only_where_nothing_makes_it_safe() -> None:
    for exact in (False, True):
        ledger = Ledger()
        ledger.publishes("a.1", EVERYBODY, one=True, exact=exact)
        ledger.acknowledged("a.1")
        _deliver(ledger, "here", "a.1", "here-1")
        _deliver(ledger, "here", "a.1", "here-1")
        _deliver(ledger, "there", "a.1", "there-1")
        ledger.close()
        assert ledger.counts["read again"] == 1
        assert ledger.broken == exact


async def test_what_redis_may_lose_is_no_violation_but_a_uri_of_two_messages_is() -> None:
    ledger = Ledger()
    ledger.may_lose("a crash", 1, lossy=True)
    for number in (1, 2):
        ledger.publishes(f"a.{number}", frozenset({"here"}), one=False, exact=True)
        ledger.acknowledged(f"a.{number}")
    _deliver(ledger, "here", "a.1", "here-1")
    ledger.close()
    assert not ledger.broken
    assert ledger.counts["lost, as it may be"] == 1
    _deliver(ledger, "here", "a.2", "here-1")
    assert "here-1 was a.1 and is a.2" in ledger.report()


async def test_the_ledger_tells_what_came_back_and_what_was_damaged() -> None:
    ledger = Ledger()
    ledger.publishes("a.1", frozenset({"here"}), one=False, exact=True)
    _deliver(ledger, "here", "a.1", "here-1")
    ledger.freed("here", ["here-1"])
    _deliver(ledger, "here", "a.1", "here-1")
    ledger.delivered("here", "a.1", "here-1", "something else")
    ledger.delivered("there", "a.1", "there-1", text_of("a.1"))
    ledger.close()
    for kind in ("returned", "damaged", "astray"):
        assert f"NOT AS PROMISED: {kind}" in ledger.report()


def _deliver(ledger: Ledger, pipe: str, name: str, href: str) -> None:
    ledger.delivered(pipe, name, href, text_of(name))


def test_the_same_seed_is_the_same_plan() -> None:
    names = possible(sentinel=False)
    assert planned(Random(1), names, 3, 60) == planned(Random(1), names, 3, 60)
    assert planned(Random(1), names, 3, 60) != planned(Random(2), names, 3, 60)
