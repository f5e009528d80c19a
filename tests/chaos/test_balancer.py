"""What `deploy/haproxy.cfg` does with requests that nodes refuse, drop or never see."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest
import trio

from tests.chaos.balancer import Balancer, find_haproxy
from tests.chaos.client import Answer, Client, CutError
from tests.waiting import until

pytestmark = pytest.mark.skipif(find_haproxy() is None, reason="HAProxy is not installed")

OK = (200, {})
DROPPED = None
DRAINS = (503, {"Retry-After": "0"})


@dataclass
class FakeNode:
    """Is always ready, and gives every other request one answer, or closes without any."""

    answer: tuple[int, dict[str, str]] | None = OK
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        with self.scope:
            await trio.serve_listeners(self._serve, [listener], task_status=task_status)

    async def _serve(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        async with stream:
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(65536)))
            if not isinstance(event, h11.Request):
                return
            answer: tuple[int, dict[str, str]] | None = OK
            if event.target != b"/readyz":
                named = {name.decode(): value.decode() for name, value in event.headers}
                self.seen.append((event.method.decode(), named))
                answer = self.answer
            if answer is not None:
                headers = {**answer[1], "Content-Length": "0", "Connection": "close"}
                head = h11.Response(status_code=answer[0], headers=list(headers.items()))
                await stream.send_all(http.send(head) or b"")


@pytest.fixture
def directory() -> Iterator[Path]:
    # A Unix socket's path has about 100 characters, fewer than pytest's directories.
    made = Path(tempfile.mkdtemp(prefix="restms-"))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def balanced(directory: Path, *nodes: FakeNode) -> AsyncIterator[Client]:
    """Run nodes behind the balancer; have a client of it."""
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.run)
        balancer = Balancer(directory, [node.port for node in nodes])
        try:
            await balancer.started()
            client = Client(("127.0.0.1", balancer.port))
            yield client
            await client.close()
        finally:
            balancer.close()
        nursery.cancel_scope.cancel()


def methods(*nodes: FakeNode) -> list[str]:
    return [method for node in nodes for method, _ in node.seen]


async def test_only_reading_is_repeated_where_a_node_gave_no_answer(directory: Path) -> None:
    lost, well = FakeNode(DROPPED), FakeNode()
    async with balanced(directory, lost, well) as client:
        for _ in range(4):
            assert (await client.ask("GET", "/")).status == 200
        assert "GET" in methods(lost)
        answered = 0
        for _ in range(4):
            with suppress(CutError):
                answered += (await client.ask("POST", "/", b"x")).status == 200
        # Each came to one node, once.
        assert answered == 2
        assert (methods(lost) + methods(well)).count("POST") == 4


async def test_a_node_that_drains_refuses_a_read_which_another_answers(directory: Path) -> None:
    drains, well = FakeNode(DRAINS), FakeNode()
    async with balanced(directory, drains, well) as client:
        assert [(await client.ask("GET", "/")).status for _ in range(4)] == [200] * 4
        assert methods(drains)
        answers = [await client.ask("POST", "/", b"x") for _ in range(4)]
        refused = [answer for answer in answers if answer.status == 503]
        # The client is told, and asked to come again at once.
        assert [answer.pause for answer in refused] == [0, 0]


async def test_what_never_reached_a_node_goes_to_another(directory: Path) -> None:
    ended, well = FakeNode(), FakeNode()
    async with balanced(directory, ended, well) as client:
        ended.scope.cancel()
        answers = [await client.ask("POST", "/", b"x") for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        assert methods(well) == ["POST"] * 4


async def test_what_clients_claim_of_themselves_does_not_pass(directory: Path) -> None:
    node = FakeNode()
    forged = dict.fromkeys(("X-Forwarded-For", "X-Forwarded-Host", "Client-Cert"), "evil")
    async with balanced(directory, node) as client:
        await client.ask("GET", "/", headers={**forged, "X-Forwarded-Proto": "https"})
        ((_, named),) = node.seen
        assert named["x-forwarded-for"] == "127.0.0.1"
        assert named["x-forwarded-host"] == named["host"]
        assert named["x-forwarded-proto"] == "http"
        assert "client-cert" not in named


async def test_where_no_node_is_ready_clients_are_told_when_to_come_again(directory: Path) -> None:
    answer = Answer(0, {})

    async def refused() -> bool:
        nonlocal answer
        answer = await client.ask("POST", "/", b"x")
        return answer.status == 503

    with_no_node = Balancer(directory, [1])  # nobody listens there
    try:
        await with_no_node.started()
        client = Client(("127.0.0.1", with_no_node.port))
        await until(refused)
        await client.close()
    finally:
        with_no_node.close()
    assert answer.pause == 1
    assert answer.body == b"No node is ready.\n"
