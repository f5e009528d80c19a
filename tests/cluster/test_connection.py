"""The shared connection: order, cancellation, loss, stall, and what errors mean."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, ResponseError

from restms_cluster.address import Address
from restms_cluster.calls import Calls
from restms_cluster.connection import Connection, check_server
from restms_cluster.errors import StartError, StateUnavailableError
from restms_cluster.link import Link, LostError, pack
from restms_cluster.pipeline import HEAVIEST, Pipeline
from tests.servers import Server, start_server
from tests.waiting import SECONDS, until


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may kill or freeze. It keeps its data on disk."""
    server = start_server(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@asynccontextmanager
async def connected(
    address: Address, *, within: float = SECONDS, **options: Any
) -> AsyncIterator[Connection]:
    with trio.fail_after(within):
        async with trio.open_nursery() as nursery:
            connection = Connection(address, **options)
            await nursery.start(connection.run)
            yield connection
            nursery.cancel_scope.cancel()


async def when_loaded(calls: Calls) -> None:
    """Begin as nodes do: with what a server refuses that still reads its file."""
    await calls.call("GET", "anything")


async def clients(server: Server) -> int:
    """Count a server's clients, the one that asks left out."""
    with server.client() as client:
        return len(client.client_list(_type="normal")) - 1


# --- calls ---------------------------------------------------------------------------------


async def test_calls(fake: Address) -> None:
    async with connected(fake) as connection:
        assert await connection.call("SET", "word", b"\x00\xff") == b"OK"
        assert await connection.call("GET", "word") == b"\x00\xff"
        assert await connection.call("GET", "none") is None
        assert await connection.call("INCRBY", "number", 5) == 5
        assert await connection.call("RPUSH", "list", "a", "b", 3) == 3
        assert await connection.call("LRANGE", "list", 0, -1) == [b"a", b"b", b"3"]


async def test_many_calls_are_one_round_trip_and_errors_stand_in_their_place(
    connection: Connection,
) -> None:
    replies = await connection.call_many([("SET", "a", 1), ("LPOP", "a"), ("GET", "a")])
    assert replies[::2] == [b"OK", b"1"]
    assert isinstance(replies[1], ResponseError)
    assert await connection.call_many([]) == []
    assert connection.round_trips == 1


async def test_an_error_reply_is_raised(connection: Connection) -> None:
    with pytest.raises(ResponseError, match="arguments"):
        await connection.call("GET")
    assert await connection.call("ECHO", "still there") == b"still there"


async def test_an_unknown_script(connection: Connection) -> None:
    with pytest.raises(NoScriptError):
        await connection.call("EVALSHA", "0" * 40, 0)
    (reply,) = await connection.call_many([("EVALSHA", "0" * 40, 0)])
    assert isinstance(reply, NoScriptError)


async def test_what_cannot_be_packed_harms_nobody(fake: Address) -> None:
    async with connected(fake) as connection:
        with pytest.raises(UnicodeEncodeError):
            await connection.call("ECHO", "\ud800")
        assert await connection.call("ECHO", "fine") == b"fine"


async def test_calls_of_many_tasks_are_sent_together(connection: Connection) -> None:
    packets: list[bytes] = []
    pipeline = connection._pipeline
    assert pipeline is not None
    send = pipeline._link.send

    async def record(data: bytes) -> None:
        packets.append(data)
        await send(data)

    pipeline._link.send = record  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(connection.call, "ECHO", number)
    assert b"".join(packets).count(b"ECHO") == 100
    assert len(packets) <= 3
    assert connection.round_trips == 100


async def test_calls_with_the_same_head_travel_as_one_command(connection: Connection) -> None:
    for number in range(10):
        await connection.call("SET", f"key-{number}", number)
    pipeline = connection._pipeline
    assert pipeline is not None
    packets: list[bytes] = []
    send = pipeline._link.send

    async def record(data: bytes) -> None:
        packets.append(data)
        await send(data)

    pipeline._link.send = record  # type: ignore[method-assign]
    found: dict[int, Any] = {}

    async def get(number: int) -> None:
        found[number] = await connection.call_grouped(("MGET",), [f"key-{number}"], 1)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(get, number)
    assert found == {number: b"%d" % number for number in range(10)}
    assert b"".join(packets).count(b"MGET") == 1


async def test_a_group_weighs_only_so_much(connection: Connection, server: Server) -> None:
    async def get() -> None:
        assert await connection.call_grouped(("MGET",), ["key"], HEAVIEST // 2) is None

    with server.client() as client:
        client.config_resetstat()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(get)
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == 5


async def test_all_of_a_group_get_its_error(connection: Connection) -> None:
    errors = []

    async def run() -> None:
        errors.append(await connection.call_grouped(("EVALSHA", "0" * 40, 0), ["a"], 1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)
    assert [type(error) for error in errors] == [NoScriptError, NoScriptError]


async def test_what_cannot_be_packed_harms_nobody_in_its_group(connection: Connection) -> None:
    async def fail() -> None:
        with pytest.raises(UnicodeEncodeError):
            await connection.call_grouped(("MGET",), ["\ud800"], 1)

    async def get() -> None:
        assert await connection.call_grouped(("MGET",), ["key"], 1) is None

    async with trio.open_nursery() as nursery:
        for call in (get, fail, get):
            nursery.start_soon(call)


async def test_a_lost_link_fails_a_group_and_reads_are_tried_once_more(
    connection: Connection, server: Server
) -> None:
    outcomes: list[Any] = []

    async def pop(retry: bool) -> None:
        try:  # the last argument is how long to wait, those before are keys
            call = connection.call_grouped(("BLPOP", "other"), ["list", 0], 1, retry=retry)
            outcomes.append(await call)
        except LostError as error:
            outcomes.append(error)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pop, False)
            nursery.start_soon(pop, False)

    await hang(connection, server, both)
    assert [type(outcome) for outcome in outcomes] == [LostError, LostError]
    assert outcomes[0] is not outcomes[1]
    assert await connection.call("LPOP", "list") == b"value"
    await hang(connection, server, partial(pop, True))
    assert outcomes[2] == b"list"  # the first part of the answer


# --- order and cancellation ----------------------------------------------------------------


async def echo_server(stream: trio.abc.Stream, chunk: int) -> None:
    """Answer each ECHO, and each word of ECHOES, `chunk` bytes at a time, others in between."""
    reader = hiredis.Reader()
    async for data in stream:
        reader.feed(bytes(data))
        answer = b""
        while (command := reader.gets()) is not False:
            words = command[1:]
            if command[0] == b"ECHOES":
                answer += b"*%d\r\n" % len(words)
            answer += b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        for start in range(0, len(answer), chunk):
            await stream.send_all(answer[start : start + chunk])
            await trio.lowlevel.checkpoint()


CALLERS = st.lists(
    st.tuples(
        st.integers(0, 6),  # steps before the call
        st.integers(0, 3),  # commands in the call; none for one that travels with others
        st.none() | st.integers(0, 12),  # steps after which it is cancelled
    ),
    min_size=1,
    max_size=25,
)


@given(CALLERS, st.integers(1, 200))
def test_cancelled_callers_never_change_the_others_answers(
    callers: list[tuple[int, int, int | None]], chunk: int
) -> None:
    answered: set[int] = set()

    async def steps(count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def cancel(scope: trio.CancelScope, after: int) -> None:
        await steps(after)
        scope.cancel()

    async def call(pipeline: Pipeline, number: int, before: int, count: int, end: Any) -> None:
        words = [f"{number}-{part}" for part in range(count)]
        await steps(before)
        async with trio.open_nursery() as nursery:
            if end is not None:
                nursery.start_soon(cancel, nursery.cancel_scope, end)
            if count:
                data = b"".join(pack("ECHO", word) for word in words)
                replies = await pipeline.request(data, count)
                assert replies == [word.encode() for word in words]
            else:
                assert await pipeline.join(("ECHOES",), [number], 400) == b"%d" % number
            answered.add(number)
            nursery.cancel_scope.cancel()

    async def main() -> None:
        with trio.fail_after(SECONDS):
            await play()

    async def play() -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        pipeline = Pipeline(Link(ours), timeout=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_server, theirs, chunk)
            nursery.start_soon(pipeline.run)
            async with trio.open_nursery() as calls:
                for number, (before, count, end) in enumerate(callers):
                    calls.start_soon(call, pipeline, number, before, count, end)
            assert await pipeline.request(pack("ECHO", "last"), 1) == [b"last"]
            nursery.cancel_scope.cancel()

    trio.run(main)
    patient = {number for number, (_, _, end) in enumerate(callers) if end is None}
    assert patient <= answered


async def test_cancelled_callers_of_a_server(fake: Address) -> None:
    answers: dict[int, Any] = {}

    async def call(number: int) -> None:
        with trio.move_on_after(0.01 if number % 3 == 0 else 10):
            answers[number] = await connection.call("ECHO", f"answer {number}")

    async with connected(fake) as connection:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    nursery.start_soon(call, number)
    assert set(answers) >= {number for number in range(60) if number % 3}
    assert all(answer == b"answer %d" % number for number, answer in answers.items())


# --- loss ----------------------------------------------------------------------------------


async def hang(connection: Connection, server: Server, call: Callable[[], Awaitable[Any]]) -> Any:
    """Make a call that does not return, and cut the link under it; return its outcome."""
    outcome: list[Any] = []

    async def run() -> None:
        try:
            outcome.append(await call())
        except StateUnavailableError as error:
            outcome.append(error)

    async def blocked() -> bool:
        with server.client() as client:
            return bool(client.info("clients")["blocked_clients"])

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await until(blocked)
            generation = connection.generation
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
            await connection.wait_generation(generation)
            with server.client() as client:
                client.rpush("list", "value")
    return outcome[0]


async def test_a_lost_link_fails_the_calls_under_way(
    connection: Connection, server: Server
) -> None:
    outcome = await hang(connection, server, partial(connection.call, "BLPOP", "list", 0))
    assert isinstance(outcome, LostError)
    assert await connection.call("LLEN", "list") == 1


async def test_a_read_is_tried_once_more(connection: Connection, server: Server) -> None:
    call = partial(connection.call, "BLPOP", "list", 0, retry=True)
    assert await hang(connection, server, call) == [b"list", b"value"]
    assert connection.round_trips == 2


async def test_no_server_at_the_start() -> None:
    connection = Connection(Address.parse("redis://:secret@127.0.0.1:1"))
    async with trio.open_nursery() as nursery:
        with pytest.raises(StartError, match="Cannot connect to Redis at") as refused:
            await nursery.start(connection.run)
    assert "secret" not in str(refused.value)


async def test_calls_wait_for_a_server_that_comes_back(own_server: Server) -> None:
    address = Address.parse(own_server.url)
    async with connected(address, patience=10, begin=when_loaded) as connection:
        own_server.stop()
        await until(lambda: not connection.connected)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.call, "SET", "while", "down")
            await trio.testing.wait_all_tasks_blocked()
            await trio.to_thread.run_sync(own_server.start)
        assert await connection.call("GET", "while") == b"down"
        assert connection.generation == 2


async def test_patience_ends(own_server: Server) -> None:
    async with connected(Address.parse(own_server.url), patience=0.05) as connection:
        own_server.stop()
        await until(lambda: not connection.connected)
        before = connection.round_trips
        with pytest.raises(StateUnavailableError, match="out of reach"):
            await connection.call("PING", retry=True)
        assert connection.round_trips == before


async def test_killed_and_restarted_under_load(own_server: Server) -> None:
    done, lost, stop = 0, 0, trio.Event()

    async def write() -> None:
        nonlocal done, lost
        while not stop.is_set():
            try:
                await connection.call("INCR", "count")
                done += 1
            except LostError:
                lost += 1

    async def read(number: int) -> None:
        while not stop.is_set():
            assert await connection.call("ECHO", number, retry=True) == b"%d" % number

    async with connected(
        Address.parse(own_server.url), within=60, patience=60, begin=when_loaded
    ) as connection:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(write)
                nursery.start_soon(read, number)
            for restart in range(3):
                await until(lambda seen=done: done > seen + 50)
                await trio.to_thread.run_sync(own_server.restart)
                await connection.wait_generation(restart + 1)
            await until(lambda seen=done: done > seen + 50)
            stop.set()
        count = int(await connection.call("GET", "count") or 0)  # type: ignore[call-overload]
    # A write that was answered is there; one that was lost may be; none is done twice.
    # No more are lost than were under way.
    assert done <= count <= done + lost
    assert 0 < lost <= 3 * 8


async def test_a_stalled_server_is_noticed_and_recovered_from(own_server: Server) -> None:
    async with connected(Address.parse(own_server.url), timeout=0.2) as connection:
        await connection.call("SET", "a", 1)
        own_server.pause()
        began = trio.current_time()
        with pytest.raises(StateUnavailableError, match="in time"):
            await connection.call("GET", "a", retry=True)
        assert 0.2 <= trio.current_time() - began < 2
        assert not connection.connected
        own_server.resume()
        await connection.wait_generation(1)
        assert await connection.call("GET", "a") == b"1"


async def test_a_demoted_primary_is_left(own_server: Server) -> None:
    async with connected(Address.parse(own_server.url), patience=10) as connection:
        await connection.call("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StateUnavailableError, match="read-only"):
            await connection.call("SET", "a", 1)
        await connection.wait_generation(1)
        await connection.call("REPLICAOF", "NO", "ONE")
        assert await connection.call("SET", "a", 1) == b"OK"


async def test_the_end_of_the_connection_ends_its_calls(server: Server) -> None:
    outcome: list[str] = []

    async def call(connection: Connection) -> None:
        try:
            await connection.call("BLPOP", "list", 0)
        except StateUnavailableError as error:
            outcome.append(error.text)

    async with (
        trio.open_nursery() as callers,
        connected(Address.parse(server.url)) as connection,
    ):
        callers.start_soon(call, connection)
        await trio.testing.wait_all_tasks_blocked()
    assert outcome == ["The connection to Redis was lost."]


# --- errors that mean "not now" ------------------------------------------------------------


async def test_out_of_memory(connection: Connection, server: Server) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StateUnavailableError, match=r"^Redis is out of memory\.$"):
                await connection.call("SET", "a", 1)
            with pytest.raises(StateUnavailableError, match="memory"):
                await connection.call_many([("GET", "a"), ("SET", "a", 1)])
            assert await connection.call("GET", "a") is None
        finally:
            client.config_set("maxmemory", 0)


async def test_too_few_replicas(connection: Connection, server: Server) -> None:
    with server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(StateUnavailableError, match="replicas") as error:
                await connection.call("SET", "a", 1)
            assert (error.value.status, error.value.retry_after) == (503, 1)
        finally:
            client.config_set("min-replicas-to-write", 0)


# --- databases, users, versions ------------------------------------------------------------


async def test_the_database_is_chosen_again_after_a_reconnect(server: Server) -> None:
    async with connected(Address.parse(server.url.replace("db=0", "db=3"))) as connection:
        await connection.call("SET", "where", "three")
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        await connection.wait_generation(1)
        assert await connection.call("GET", "where") == b"three"
    with server.client() as client:
        assert client.get("where") is None


async def test_a_user_who_may_not(server: Server) -> None:
    with server.client() as client:
        client.acl_setuser("reader", enabled=True, nopass=True, commands=["+get"], keys=["*"])
    url = server.url.replace("unix://", "unix://reader:x@")
    async with connected(Address.parse(url)) as connection:
        assert await connection.call("GET", "a") is None
        with pytest.raises(ResponseError, match=r"(?i)no permissions"):
            await connection.call("SET", "a", 1)


async def test_a_wrong_password_at_the_start(tmp_path: Path, nursery: trio.Nursery) -> None:
    with closing(start_server(tmp_path, "--requirepass", "right")) as server:
        connection = Connection(Address.parse(f"{server.url}&password=wrong"))
        with pytest.raises(StartError, match=r"refuses the user name or the password\.$"):
            await nursery.start(connection.run)


async def test_the_servers_version(connection: Connection) -> None:
    info = await check_server(connection)
    assert info == await connection.serverinfo()
    assert info.name in {"valkey", "redis"}
    assert int(info.version.partition(".")[0]) >= 7


async def old_server(nursery: trio.Nursery, hello: bytes) -> Address:
    """Play a server that answers HELLO with these bytes, and everything else with OK."""

    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(hello if b"HELLO" in data else b"+OK\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return Address.parse(f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}")


def hello(server: bytes, version: bytes) -> bytes:
    return b"*4\r\n" + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word) for word in (b"server", server, b"version", version)
    )


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (hello(b"redis", b"6.2.14"), "Redis 6.2.14 is too old"),
        (hello(b"redis", b"unstable"), "does not tell its version"),
        (b"-ERR unknown command 'HELLO'\r\n", "does not tell its version"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loading"),
    ],
)
async def test_a_server_that_will_not_do(nursery: trio.Nursery, answer: bytes, fault: str) -> None:
    async with connected(await old_server(nursery, answer)) as connection:
        with pytest.raises(StartError, match=fault):
            await check_server(connection)


@pytest.mark.parametrize(("name", "version"), [(b"redis", b"7.0.0"), (b"valkey", b"7.2.5")])
async def test_the_oldest_servers_that_will_do(
    nursery: trio.Nursery, name: bytes, version: bytes
) -> None:
    async with connected(await old_server(nursery, hello(name, version))) as connection:
        info = await check_server(connection)
        assert info.version == version.decode()
