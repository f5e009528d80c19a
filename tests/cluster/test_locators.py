"""Whom a node believes when servers disagree about where the primaries are."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from hiredis import Reader

from restms_cluster import informants
from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.locators import Locator, make_locator
from restms_cluster.topology import Seeds, Sentinels
from tests.clusters import domains_apart, slot

ONE, TWO = domains_apart(2)
HALVES = (0, 8191), (8192, 16383)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers are waited for, on a busy machine, too."""
    monkeypatch.setattr(informants, "LATE_SECONDS", 10)


class Played:
    """A server that gives these answers, in RESP, and counts its connections."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = answers
        self.connections = 0
        self.hangs = False

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        reader = Reader()
        async for data in stream:
            if self.hangs:
                await trio.sleep_forever()
            reader.feed(bytes(data))
            while (command := reader.gets()) is not False:
                await stream.send_all(self.answers.get(b" ".join(command[:2]), b"+OK\r\n"))


async def play(nursery: trio.Nursery, answers: dict[bytes, bytes]) -> tuple[Played, Address]:
    played = Played(answers)
    listeners = await nursery.start(partial(trio.serve_tcp, played.serve, 0, host="127.0.0.1"))
    return played, Address("127.0.0.1", listeners[0].socket.getsockname()[1])


def bulk(*texts: str) -> bytes:
    """A list of texts, or one text, in RESP."""
    each = b"".join(b"$%d\r\n%s\r\n" % (len(text), text.encode()) for text in texts)
    return b"*%d\r\n%s" % (len(texts), each)


def sentinel(port: int, epoch: int | None) -> dict[bytes, bytes]:
    """What a sentinel says that takes 127.0.0.1:port for the primary since that epoch."""
    facts = b"-NOPERM not for you\r\n" if epoch is None else bulk("config-epoch", str(epoch))
    return {
        b"SENTINEL GET-MASTER-ADDR-BY-NAME": bulk("127.0.0.1", str(port)),
        b"SENTINEL MASTER": facts,
    }


def member(*owners: tuple[str, int, int], host: str = "127.0.0.1") -> dict[bytes, bytes]:
    """What a server of a cluster says whose halves of the slots have these owners.

    Each owner is an id, a port and an epoch.
    """
    slots = b"*%d\r\n" % len(owners)
    nodes = ""
    for (first, last), (name, port, epoch) in zip(HALVES, owners, strict=False):
        server = b"*3\r\n$%d\r\n%s\r\n:%d\r\n$1\r\n%s\r\n" % (
            len(host),
            host.encode(),
            port,
            name.encode(),
        )
        slots += b"*3\r\n:%d\r\n:%d\r\n%s" % (first, last, server)
        nodes += f"{name} {host}:{port}@1 master - 0 0 {epoch} connected {first}-{last}\n"
    return {
        b"CLUSTER SLOTS": slots,
        b"CLUSTER NODES": b"$%d\r\n%s\r\n" % (len(nodes), nodes.encode()),
    }


@asynccontextmanager
async def asking(topology: Sentinels | Seeds, *domains: str) -> AsyncIterator[Locator]:
    locator = make_locator(topology, domains)
    try:
        yield locator
    finally:
        await locator.aclose()


def watching(addresses: Sequence[Address]) -> Sentinels:
    return Sentinels(tuple(addresses), "mine", Address(db=2, password="secret", primary=True))


async def test_the_sentinel_that_knows_the_latest_failover_is_believed(
    nursery: trio.Nursery,
) -> None:
    told = [sentinel(1111, 3), sentinel(2222, 4), sentinel(1111, None)]
    addresses = [(await play(nursery, one))[1] for one in told]
    async with asking(watching(addresses), ONE) as locator:
        found = await locator.locate()
    assert found == {ONE: Address("127.0.0.1", 2222, db=2, password="secret", primary=True)}


async def test_a_node_does_not_go_back_while_those_who_know_do_not_answer(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informants, "LATE_SECONDS", 0.1)
    (_, first), (knows, second) = [
        await play(nursery, sentinel(port, epoch)) for port, epoch in ((1111, 1), (2222, 2))
    ]
    async with asking(watching([first, second]), ONE) as locator:
        while (await locator.locate())[ONE].port != 2222:
            pass  # on a busy machine, the other's answer may be late
        knows.hangs = True
        assert (await locator.locate())[ONE].port == 2222
        # All of them together may begin anew.
        knows.hangs = False
        knows.answers = sentinel(1111, 1)
        while (await locator.locate())[ONE].port != 1111:
            pass


async def test_links_are_kept_and_made_again(nursery: trio.Nursery) -> None:
    played, address = await play(nursery, sentinel(1111, 1))
    async with asking(watching([address]), ONE) as locator:
        await locator.locate()
        await locator.locate()
        assert played.connections == 1
        played.answers = sentinel(2222, 2)
        assert (await locator.locate())[ONE].port == 2222


async def test_a_sentinel_that_hangs_delays_nobody_for_long(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informants, "ASK_SECONDS", 60)
    monkeypatch.setattr(informants, "LATE_SECONDS", 0.1)
    (hanging, first), (_, second) = [
        await play(nursery, sentinel(port, epoch)) for port, epoch in ((1111, 9), (2222, 1))
    ]
    hanging.hangs = True
    async with asking(watching([first, second]), ONE) as locator:
        with trio.fail_after(30):
            assert (await locator.locate())[ONE].port == 2222


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ({b"SENTINEL GET-MASTER-ADDR-BY-NAME": b"*-1\r\n"}, "have none of that name"),
        (
            {b"SENTINEL GET-MASTER-ADDR-BY-NAME": b"-NOPERM you may not\r\n"},
            "knows the primary: .*you may not",
        ),
    ],
)
async def test_sentinels_that_do_not_tell(
    nursery: trio.Nursery, answers: dict[bytes, bytes], fault: str
) -> None:
    _, address = await play(nursery, answers)
    async with asking(watching([address]), ONE) as locator:
        with pytest.raises(StateUnavailableError, match=fault):
            await locator.locate()


async def test_no_sentinel_answers() -> None:
    async with asking(watching([Address("127.0.0.1", 1)]), ONE) as locator:
        with pytest.raises(StateUnavailableError, match=r"No Sentinel answers: Cannot connect"):
            await locator.locate()


async def test_domains_are_where_their_slots_are(nursery: trio.Nursery) -> None:
    _, address = await play(nursery, member(("a", 1111, 1), ("b", 2222, 2)))
    async with asking(Seeds((address,)), ONE, TWO) as locator:
        found = await locator.locate()
    assert slot(ONE) < 8192 <= slot(TWO)
    assert {domain: place.port for domain, place in found.items()} == {ONE: 1111, TWO: 2222}
    assert all(place.primary for place in found.values())


async def test_whoever_took_a_slot_last_has_it(nursery: trio.Nursery) -> None:
    """A primary that was frozen still claims what a replica took over meanwhile."""
    _, old = await play(nursery, member(("a", 1111, 1), ("b", 2222, 2)))
    _, new = await play(nursery, member(("c", 3333, 3), ("b", 2222, 2)))
    for addresses in ((old, new), (new, old)):
        async with asking(Seeds(addresses), ONE, TWO) as locator:
            found = await locator.locate()
        assert (found[ONE].port, found[TWO].port) == (3333, 2222)


async def test_an_older_claim_counts_where_the_present_primary_knows_no_newer(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, address = await play(nursery, {})
    played.answers = member(("a", address.port, 5), ("b", 2222, 2))
    other, elsewhere = await play(nursery, member(("c", 1111, 1), ("b", 2222, 2)))
    async with asking(Seeds((address, elsewhere)), ONE) as locator:
        assert (await locator.locate())[ONE].port == address.port
        played.hangs = True
        monkeypatch.setattr(informants, "ASK_SECONDS", 0.2)
        assert (await locator.locate())[ONE].port == address.port
        # The cluster was made anew.
        played.hangs = False
        played.answers = other.answers
        assert (await locator.locate())[ONE].port == 1111


async def test_a_server_without_a_name_is_where_it_was_asked(nursery: trio.Nursery) -> None:
    _, address = await play(nursery, member(("a", 1111, 1), host="?"))
    async with asking(Seeds((address,)), ONE) as locator:
        assert (await locator.locate())[ONE] == replace(address, port=1111, primary=True)


async def test_a_slot_that_nobody_serves(nursery: trio.Nursery) -> None:
    played, address = await play(nursery, member(("a", 1111, 1)))
    async with asking(Seeds((address,)), TWO) as locator:
        with pytest.raises(StateUnavailableError, match=f"serves the slot of the domain {TWO}"):
            await locator.locate()
        played.answers = member(("a", 1111, 1), ("b", 2222, 2))
        assert (await locator.locate())[TWO].port == 2222
        # It stays where it was until somebody else has it.
        played.answers = member(("a", 1111, 1))
        assert (await locator.locate())[TWO].port == 2222


async def test_a_server_that_is_no_member_of_a_cluster(nursery: trio.Nursery) -> None:
    refusal = b"-ERR This instance has cluster support disabled\r\n"
    _, address = await play(nursery, {b"CLUSTER SLOTS": refusal, b"CLUSTER NODES": refusal})
    async with asking(Seeds((address,)), ONE) as locator:
        with pytest.raises(StateUnavailableError, match="cluster support disabled"):
            await locator.locate()
