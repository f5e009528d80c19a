"""Calls that are carried together, and answered each for itself."""

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from restms_cluster.calls import Calls
from restms_cluster.errors import StateUnavailableError
from restms_cluster.keeper import Keeper, Kept
from restms_cluster.link import Answer, Argument, LostError, MovedError, UndoneError, error_reply
from tests.waiting import until

MOVED = error_reply("MOVED 3999 127.0.0.1:6381")
MOVING = error_reply("TRYAGAIN The slot is being moved.")
ASK = error_reply("ASK 3999 127.0.0.1:6381")


class Server(Calls):
    """Answers what a test tells it to, once it is let."""

    def __init__(self, *answers: Answer) -> None:
        self.told: list[Answer] = list(answers)
        self.asked = trio.Event()
        self.let = trio.Event()

    async def _request(self, data: bytes, count: int, *, retry: bool) -> list[Answer]:
        self.asked.set()
        await self.let.wait()
        assert count == len(self.told)
        return self.told


async def outcomes(
    open_connection: Callable[[], Awaitable[Calls]], *calls: tuple[str, Argument]
) -> list[Kept | StateUnavailableError]:
    """Make calls, of a domain and with an argument, in one turn; return what became of each."""
    keeper, found = Keeper(), dict[int, Kept | StateUnavailableError]()

    async def call(place: int, domain: str, argument: Argument) -> None:
        try:
            found[place] = await keeper.call(domain, ("EVALSHA", domain), [argument], 1)
        except StateUnavailableError as error:
            found[place] = error

    with trio.fail_after(5):
        async with trio.open_nursery() as carrying, trio.open_nursery() as callers:
            for place, (domain, argument) in enumerate(calls):
                callers.start_soon(call, place, domain, argument)
                await trio.testing.wait_all_tasks_blocked()
            carrying.start_soon(keeper.run, open_connection)
            await until(lambda: len(found) == len(calls))
            carrying.cancel_scope.cancel()
    return [found[place] for place in range(len(calls))]


async def answered(
    server: Server, *calls: tuple[str, Argument]
) -> list[Kept | StateUnavailableError]:
    async def opened() -> Calls:
        return server

    server.let.set()
    return await outcomes(opened, *calls)


@pytest.mark.parametrize(
    ("refusal", "kind"), [(MOVED, MovedError), (MOVING, StateUnavailableError)]
)
async def test_a_domain_that_is_refused_is_refused_alone(
    refusal: StateUnavailableError, kind: type[StateUnavailableError]
) -> None:
    server = Server(refusal, [b"one", b"two"], *[ASK, b"OK"], 1)
    moved, one, two = await answered(server, ("a", "x"), ("b", "y"), ("b", "z"))
    assert type(moved) is kind
    assert (one, two) == (Kept(b"one", enough=True), Kept(b"two", enough=True))


@pytest.mark.parametrize(
    ("wrote", "count"), [(b"OK", 0), (ASK, 1), (b"OK", error_reply("ERR WAIT cannot be used"))]
)
async def test_nothing_is_kept_that_replicas_do_not_confirm(wrote: Answer, count: Answer) -> None:
    (one,) = await answered(Server([b"one"], wrote, count), ("a", "x"))
    assert one == Kept(b"one", enough=False)


async def test_where_no_connection_can_be_had_nothing_was_done() -> None:
    async def refused() -> Calls:
        raise UndoneError("Redis is out of reach.")

    (one,) = await outcomes(refused, ("a", "x"))
    assert isinstance(one, UndoneError)


async def test_its_end_tells_what_may_have_been_done_and_what_was_not() -> None:
    server, keeper = Server(), Keeper()
    found: dict[str, type[StateUnavailableError]] = {}

    async def opened() -> Calls:
        return server

    async def call(text: str) -> None:
        with pytest.raises(StateUnavailableError) as caught:
            await keeper.call("a", ("EVALSHA",), [text], 1)
        found[text] = caught.type

    async with trio.open_nursery() as callers, trio.open_nursery() as carrying:
        carrying.start_soon(keeper.run, opened)
        callers.start_soon(call, "under way")
        await server.asked.wait()
        callers.start_soon(call, "gathered")
        await trio.testing.wait_all_tasks_blocked()
        carrying.cancel_scope.cancel()
    assert found == {"under way": LostError, "gathered": UndoneError}
    with pytest.raises(UndoneError):
        await keeper.call("a", ("EVALSHA",), ["too late"], 1)
