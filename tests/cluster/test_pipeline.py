"""Groups of calls: what travels together, and how many groups are under way at a time."""

from collections import deque

import trio
import trio.testing

from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, Link, LostError
from restms_cluster.pipeline import ENOUGH, UNDER_WAY, Head, Pipeline

HEAD: Head = ("EVALSHA", "publish")
OTHER: Head = ("EVALSHA", "read")


class Server(trio.abc.Stream):
    """What a link leads to: it keeps each write, and answers what it is told to."""

    def __init__(self) -> None:
        self.written: deque[bytes] = deque()
        self._send, self._receive = trio.open_memory_channel[bytes](100)

    def answer(self, *parts: bytes) -> None:
        words = b"".join(b"+%s\r\n" % one for one in parts)
        self._send.send_nowait(b"*%d\r\n%s" % (len(parts), words))

    async def send_all(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._receive.receive()

    async def aclose(self) -> None:
        await self._send.aclose()


class Asked:
    """A pipeline to such a server, with calls that are made in tasks of their own."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.server = Server()
        self.pipeline = Pipeline(Link(self.server), timeout=10)
        self.answers: dict[str, Answer] = {}
        self._nursery = nursery
        nursery.start_soon(self.pipeline.run)

    async def call(self, *names: str, head: Head = HEAD, weight: int = 1) -> list[bytes]:
        """Make calls in one turn; return what has been written when all has come to rest."""
        for name in names:
            self._nursery.start_soon(self._call, name, head, weight)
        return await self.rest()

    async def rest(self) -> list[bytes]:
        await trio.testing.wait_all_tasks_blocked()
        written = list(self.server.written)
        self.server.written.clear()
        return written

    async def _call(self, name: str, head: Head, weight: int) -> None:
        try:
            self.answers[name] = await self.pipeline.join(head, [name], weight)
        except StateUnavailableError as error:
            self.answers[name] = error


async def test_calls_of_one_turn_travel_together(nursery: trio.Nursery) -> None:
    asked = Asked(nursery)

    [written] = await asked.call("a", "b", "c")

    assert written.startswith(b"*5\r\n")
    asked.server.answer(b"1", b"2", b"3")
    await asked.rest()
    assert asked.answers.keys() == {"a", "b", "c"}
    assert set(asked.answers.values()) == {b"1", b"2", b"3"}


async def test_what_comes_while_some_are_under_way_gathers(nursery: trio.Nursery) -> None:
    asked = Asked(nursery)
    for number in range(UNDER_WAY):
        assert len(await asked.call(f"early {number}")) == 1

    assert await asked.call("late 1") == []
    assert await asked.call("late 2") == []
    [other] = await asked.call("another script's", head=OTHER)

    assert b"read" in other
    asked.server.answer(b"done")
    [gathered] = await asked.rest()
    assert b"late 1" in gathered
    assert b"late 2" in gathered
    assert asked.answers == {"early 0": b"done"}


async def test_a_group_with_enough_to_do_goes_at_once(nursery: trio.Nursery) -> None:
    asked = Asked(nursery)
    for number in range(UNDER_WAY):
        await asked.call(f"early {number}")

    assert await asked.call("some", weight=ENOUGH - 1) == []
    [written] = await asked.call("more")

    assert b"some" in written
    assert b"more" in written


async def test_what_is_too_much_for_the_group_that_gathers_goes_behind_it(
    nursery: trio.Nursery,
) -> None:
    asked = Asked(nursery)
    for number in range(UNDER_WAY):
        await asked.call(f"early {number}")
    await asked.call("light")

    [written] = await asked.call("heavy", weight=1000)

    assert written.index(b"light") < written.index(b"heavy")
    assert written.count(b"EVALSHA") == 2


async def test_those_that_gather_learn_that_the_link_is_lost(nursery: trio.Nursery) -> None:
    asked = Asked(nursery)
    for number in range(UNDER_WAY):
        await asked.call(f"early {number}")
    await asked.call("late")

    asked.pipeline.fail(LostError())
    await asked.rest()

    assert len(asked.answers) == UNDER_WAY + 1
    assert all(isinstance(answer, LostError) for answer in asked.answers.values())


async def test_a_caller_who_gives_up_while_gathering_harms_nobody(nursery: trio.Nursery) -> None:
    asked = Asked(nursery)
    for number in range(UNDER_WAY):
        await asked.call(f"early {number}")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as inner:
            inner.start_soon(asked.pipeline.join, HEAD, ["gone"], 1)
            await asked.rest()
            await asked.call("late")
            scope.cancel()

    asked.server.answer(b"done")
    await asked.rest()
    asked.server.answer(b"done")
    asked.server.answer(b"nobody's", b"mine")
    await asked.rest()

    assert asked.answers["late"] == b"mine"
