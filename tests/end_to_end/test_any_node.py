"""Any node serves any URI, and completes what another began."""

from collections.abc import Callable

from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.nodes import Cluster


def test_a_wait_on_one_node_ends_when_the_message_is_posted_to_another(client: Client) -> None:
    for waiting, posting in ((0, 1), (1, 0)):
        pipe = client.new_pipe()
        wait = client.later("GET", f"{pipe}-1", node=waiting)
        parked(client.cluster, pipe)
        client.publish(name(pipe), "hello", node=posting)
        assert text(wait.result(5)) == "hello"


def test_many_readers_of_one_asynclet_all_get_it(client: Client) -> None:
    pipe = client.new_pipe()
    waits = [client.later("GET", f"{pipe}-1") for _ in range(20)]
    parked(client.cluster, pipe, waits=2)
    client.publish(name(pipe), "hello")
    assert [text(wait.result(5)) for wait in waits] == ["hello"] * 20


def test_a_wait_for_a_change_ends_when_it_is_made_on_another_node(client: Client) -> None:
    made = client.send(
        "POST", "/restms/domain/default", '<restms><feed name="changing"/></restms>', node=0
    )
    assert made.status_code == 201
    for change in ('<restms><feed title="one"/></restms>', '<restms><feed title="two"/></restms>'):
        etag = client.send("GET", "/restms/feed/changing", node=0).headers["etag"]
        wait = client.later("GET", "/restms/feed/changing", node=0, When_None_Match=etag)
        with client.cluster.redis.client() as redis:
            until(lambda: redis.pubsub_numsub("restms:{default}:feed:changing")[0][1])
        assert client.send("PUT", "/restms/feed/changing", change, node=1).status_code == 200
        answer = wait.result(5)
        assert answer.status_code == 200
        assert answer.headers["etag"] != etag


def test_a_wait_for_a_domain_ends_with_a_new_feed(client: Client) -> None:
    etag = client.send("GET", "/restms/domain/default", node=0).headers["etag"]
    wait = client.later("GET", "/restms/domain/default", node=0, When_None_Match=etag)
    with client.cluster.redis.client() as redis:
        until(lambda: redis.pubsub_numsub("restms:{default}")[0][1])
    client.send("POST", "/restms/domain/default", '<restms><feed name="added"/></restms>', node=1)
    assert 'name="added"' in wait.result(5).text


def test_waits_for_a_pipe_end_with_a_join_a_message_and_its_deletion(client: Client) -> None:
    pipe = client.new_pipe()
    join = '<restms><join address="x" feed="/restms/feed/shifting"/></restms>'
    client.send("POST", "/restms/domain/default", '<restms><feed name="shifting"/></restms>')
    changes = (
        lambda: client.send("POST", pipe, join, node=1),
        lambda: client.publish("x", "hello", feed="shifting", node=1),
        lambda: client.send("DELETE", f"{pipe}-1", node=1),
        lambda: client.send("PUT", pipe, '<restms><pipe title="mine"/></restms>', node=1),
        lambda: client.send("DELETE", "/restms/feed/shifting", node=1),
    )
    for change in changes:
        etag = client.send("GET", pipe, node=0).headers["etag"]
        wait = client.later("GET", pipe, node=0, When_None_Match=etag)
        parked(client.cluster, pipe)
        change()
        assert wait.result(5).status_code == 200
    waits = [client.later("GET", f"{pipe}-2", node=node) for node in (0, 1)]
    parked(client.cluster, pipe, waits=2)
    client.send("DELETE", pipe)
    assert [wait.result(5).status_code for wait in waits] == [404, 404]


def test_one_writers_order_is_kept_across_nodes(client: Client) -> None:
    pipe = client.new_pipe()
    for n in range(0, 60, 3):
        client.publish(name(pipe), *(str(n + i) for i in range(3)))
    texts = [text(client.send("GET", f"{pipe}-{n}")) for n in range(1, 61)]
    assert texts == [str(n) for n in range(60)]


def test_conditional_changes_are_atomic_across_nodes(client: Client) -> None:
    client.send("POST", "/restms/domain/default", '<restms><feed name="contended"/></restms>')
    etag = client.send("GET", "/restms/feed/contended").headers["etag"]
    body = '<restms><feed title="{}"/></restms>'
    puts = [
        client.later("PUT", "/restms/feed/contended", body=body.format(n), If_Match=etag)
        for n in range(16)
    ]
    statuses = sorted(put.result(10).status_code for put in puts)
    assert statuses == [200] + [412] * 15


def test_a_fresh_node_serves_what_another_made(
    client_of: Callable[[Cluster], Client],
) -> None:
    with Cluster(1) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "hello")
        cluster.nodes[0].kill()
        cluster.add()
        assert text(client.send("GET", f"{pipe}-1", node=1)) == "hello"
