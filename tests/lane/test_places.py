"""The places of those who wait: of a node, of one client, of a domain."""

from contextlib import ExitStack

import pytest

from restms_cluster.broker import Broker
from restms_cluster.errors import UnavailableError
from restms_node.waiting import Waits


async def test_a_domain_has_no_more_places_than_it_may(broker: Broker) -> None:
    waits = Waits(broker.shards, most=10, reread_seconds=1, most_in={"small": 2, "large": None})
    with ExitStack() as two:
        two.enter_context(waits.place("", "small"))
        two.enter_context(waits.place("", "small"))
        with pytest.raises(UnavailableError, match="domain"), waits.place("", "small"):
            pass
        with waits.place("", "large"), waits.place("", "another"):
            assert waits.parked == 4
    with waits.place("", "small"):  # they are given back
        assert waits.parked == 1


async def test_a_client_has_no_more_places_than_one_may(broker: Broker) -> None:
    waits = Waits(broker.shards, most=10, reread_seconds=1, most_each=1)
    with waits.place("alice", "default"):
        with pytest.raises(UnavailableError, match="as one may"), waits.place("alice", "default"):
            pass
        with waits.place("bob", "default"):
            assert waits.parked == 2
