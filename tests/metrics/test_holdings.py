"""What a domain holds is told by one node: the one that sweeps it, and when it dies another."""

from tests.conformance.client import Client, unique
from tests.conformance.documents import message, numbered
from tests.metrics.conftest import OFTEN
from tests.metrics.scrapes import grows, scrape, told
from tests.nodes import Cluster
from tests.waiting import wait_until

STORED, OLDEST, PIPES = "restms_messages_stored", "restms_oldest_message_seconds", "restms_pipes"
SWEPT = "restms_swept_timestamp_seconds"
ONE_NODE = (STORED, OLDEST, PIPES, SWEPT)


def holders(urls: list[str]) -> list[int]:
    """Those that tell of what the domain holds, each of all of it."""
    scrapes = [scrape(url) for url in urls]
    found = [[bool(one.samples(name, domain="default")) for name in ONE_NODE] for one in scrapes]
    assert all(any(one) == one[-1] for one in found)
    return [number for number, one in enumerate(found) if all(one)]


def until_empty(urls: list[str]) -> None:
    """Wait until it is seen that what other tests made is deleted."""
    wait_until(lambda: told(urls, PIPES) == told(urls, STORED) == told(urls, OLDEST) == 0)


def test_messages_are_stored_in_pipes_and_queues_of_all_feeds(
    client: Client, urls: list[str]
) -> None:
    until_empty(urls)
    feed = client.create_feed(unique("news"), "fanout")
    with grows(urls, PIPES, 3):
        pipe, *_ = [client.create_joined(feed) for _ in range(3)]
    with grows(urls, STORED, 6):
        client.post_messages(feed, *numbered(2))
    with grows(urls, STORED, -1):
        client.delete(client.messages(pipe)[0])
    with grows(urls, STORED, 3 + 2 + 1):  # to be handed out, and to be routed at their time
        client.post_messages(client.create_feed(unique("work"), "rotator"), *numbered(3))
        client.post_messages(client.create_feed(type="rotator"), *numbered(2))
        client.post_messages(feed, message(delay="600000"))


def test_the_oldest_message_grows_older_until_somebody_acknowledges_it(
    client: Client, urls: list[str]
) -> None:
    until_empty(urls)
    work = client.create_feed(unique("work"), "rotator")
    client.post_messages(work, message())
    wait_until(lambda: told(urls, OLDEST) > 0.5)
    pipe = client.create_joined(work)
    assert told(urls, OLDEST) > 0.5
    wait_until(lambda: client.messages(pipe))
    client.delete(client.messages(pipe)[0])
    wait_until(lambda: told(urls, OLDEST) == told(urls, STORED) == 0)


def test_another_node_tells_when_the_one_that_told_dies() -> None:
    with Cluster(2, *OFTEN) as cluster, Client(cluster.urls) as client:
        client.post_messages(client.create_feed(unique("work"), "rotator"), *numbered(3))
        wait_until(lambda: told(cluster.urls, STORED) == 3)
        [holder] = holders(cluster.urls)
        swept = told(cluster.urls, SWEPT)
        cluster.nodes[holder].kill()
        left = [cluster.urls[1 - holder]]
        wait_until(lambda: holders(left) == [0])
        assert told(left, STORED) == 3
        assert told(left, SWEPT) > swept
        # Without Redis it cannot know that the lease is still its own, and soon tells no more.
        assert told(left, "restms_redis_connected") == 1
        cluster.redis.kill()
        wait_until(lambda: told(left, "restms_redis_connected") == 0)
        wait_until(lambda: holders(left) == [])
        cluster.redis.start()
        wait_until(lambda: told(left, "restms_redis_connected") == 1)
        wait_until(lambda: told(left, "restms_redis_reconnects_total") >= 1)
        client.on(1 - holder).delete_all()
