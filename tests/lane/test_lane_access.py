"""Who comes in by the lane: told to the resources, found out once, refused in time."""

import pytest

from restms_cluster.broker import Broker
from restms_node import lane_requests
from restms_node.access import Access
from restms_node.exchange import Answer, Request
from restms_node.node import Node
from restms_node.principals import ANONYMOUS, Principal
from restms_node.remembered import Remembered
from tests.lane.conftest import Serving, get, post

SOME = "p" + "0" * 32 + "-1"
ALICE = Principal("alice", method="test")
RIGHT, WRONG = "Authorization: Test right", "Authorization: Test wrong"


class Counting:
    """An authenticator that counts what it is asked."""

    scheme = "test"
    challenge = "Test"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def check(self, credentials: str) -> Principal | None:
        self.asked.append(credentials)
        return ALICE if credentials == "right" else None

    async def run(self, remembered: Remembered) -> None:
        raise NotImplementedError


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Principal]:
    """The principals of the requests to read a message, which are answered with 204."""
    principals: list[Principal] = []

    async def handle(_: Node, request: Request, __: object) -> Answer:
        principals.append(request.principal)
        return Answer(204)

    table = {**lane_requests.SERVED, ("GET", "message", ""): handle}
    monkeypatch.setattr(lane_requests, "SERVED", table)
    return principals


async def test_the_resources_are_told_and_the_authenticator_is_asked_once(
    serving: Serving, seen: list[Principal]
) -> None:
    counting = Counting()
    async with serving(access=Access([counting])) as served:
        for _ in range(2):
            client = await served.connect()
            for lines in ((RIGHT,), (), (RIGHT,)):
                await client.send(get(SOME, *lines))
                assert (await client.answer()).status == 204
    assert seen == [ALICE, ANONYMOUS, ALICE] * 2
    assert counting.asked == ["right"]


async def test_without_an_authenticator_credentials_mean_nothing(
    serving: Serving, seen: list[Principal]
) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(get(SOME, WRONG))
        assert (await client.answer()).status == 204
    assert seen == [ANONYMOUS]


async def test_who_is_refused_may_try_again(serving: Serving, seen: list[Principal]) -> None:
    async with serving(access=Access([Counting()])) as served:
        client = await served.connect()
        await client.send(get(SOME, WRONG), get(SOME, RIGHT))
        refused = await client.answer()
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Test")
        assert "connection" not in refused.headers
        assert (await client.answer()).status == 204
    assert seen == [ALICE]


async def test_the_body_of_who_is_refused_is_neither_awaited_nor_taken_for_a_request(
    serving: Serving, broker: Broker, seen: list[Principal]
) -> None:
    async with serving(access=Access([Counting()])) as served:
        client = await served.connect()
        whole = post("x" * 100, WRONG)
        await client.send(whole[: whole.index(b"\r\n\r\n") + 4], get(SOME, RIGHT))
        refused = await client.answer()
        assert (refused.status, refused.headers["connection"]) == (401, "close")
        assert await client.ended() == b""
    assert seen == []


async def test_two_lines_of_credentials_are_refused(serving: Serving) -> None:
    async with serving(access=Access([Counting()])) as served:
        for lines in ((RIGHT, WRONG), (RIGHT, "authorization: Test right")):
            client = await served.connect()
            await client.send(get(SOME, *lines))
            refused = await client.answer()
            assert (refused.status, refused.headers["connection"]) == (400, "close")
            assert refused.body == b"The request has more than one Authorization.\n"
