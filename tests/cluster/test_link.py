"""One raw link: how it is opened, and how it says what is wrong."""

import ssl
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, ResponseError

from restms_cluster.address import Address
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Link, LostError, error_reply, pack
from tests.servers import Server, start_server


async def play(nursery: trio.Nursery, answer: bytes | None) -> Address:
    """Start a server that gives every client the same answer, or none."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is not None:
                await stream.send_all(answer)
            async for _ in stream:
                pass

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return Address.parse(f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}")


async def test_commands_and_replies(fake: Address) -> None:
    async with await Link.open(fake) as link:
        await link.send(pack("SET", "word", "Grüße") + pack("GET", b"word") + pack("GET", "none"))
        replies = []
        while len(replies) < 3:
            replies += await link.receive()
    assert replies == [b"OK", "Grüße".encode(), None]


async def test_an_error_reply_is_its_exception(fake: Address) -> None:
    async with await Link.open(fake) as link:
        await link.send(pack("INCR"))
        (reply,) = await link.receive()
    assert isinstance(reply, ResponseError)


async def test_the_end_of_the_stream_is_a_lost_link(nursery: trio.Nursery) -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"+half")
    await server.aclose()
    with pytest.raises(LostError):
        await Link(client).receive()


async def test_garbage_is_a_lost_link() -> None:
    client, server = trio.testing.memory_stream_pair()
    await server.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(LostError, match="not its protocol"):
        await Link(client).receive()


@given(st.lists(st.binary(max_size=40), min_size=1), st.data())
def test_replies_in_pieces_of_any_size(values: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=6).map(sorted))
    pieces = [wire[i:j] for i, j in zip([0, *cuts], [*cuts, len(wire)], strict=True)]

    async def main() -> list[object]:
        client, server = trio.testing.memory_stream_pair()
        link, replies = Link(client), []
        for piece in pieces:
            await server.send_all(piece)
        while len(replies) < len(values):
            replies += await link.receive()
        return replies

    assert trio.run(main) == values


async def test_refused_connection() -> None:
    with pytest.raises(StateUnavailableError, match=r"redis://127.0.0.1:1/0: .*refused\.$"):
        await Link.open(Address.parse("redis://:secret@127.0.0.1:1"))


async def test_no_such_socket() -> None:
    with pytest.raises(StateUnavailableError, match="No such file or directory"):
        await Link.open(Address.parse("unix:///nowhere/redis.sock"))


async def test_a_server_that_does_not_answer(nursery: trio.Nursery) -> None:
    address = await play(nursery, None)
    with pytest.raises(StateUnavailableError, match=r"no answer within 0\.1 seconds"):
        await Link.open(address, timeout=0.1)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not its protocol"),
        (b"-ERR max number of clients reached\r\n", "max number of clients"),
        (b"-DENIED Redis is running in protected mode\r\n", "protected mode"),
        (b"-NOAUTH Authentication required.\r\n", "asks for a password"),
    ],
)
async def test_a_server_that_turns_us_away(
    nursery: trio.Nursery, answer: bytes, fault: str
) -> None:
    with pytest.raises(StateUnavailableError, match=fault):
        await Link.open(await play(nursery, answer))


async def test_a_name_that_may_not_be_set_is_done_without(nursery: trio.Nursery) -> None:
    address = await play(nursery, b"-NOPERM this user has no permissions to run 'client'\r\n")
    async with await Link.open(address) as link:
        await link.send(pack("PING"))


async def test_password(tmp_path: Path) -> None:
    with closing(start_server(tmp_path, "--requirepass", "right")) as server:
        async with await Link.open(Address.parse(f"{server.url}&password=right")):
            pass
        with pytest.raises(StateUnavailableError, match="refuses the user name") as refused:
            await Link.open(Address.parse(f"{server.url}&password=wrong"))
        assert "wrong" not in refused.value.text
        with pytest.raises(StateUnavailableError, match="asks for a password"):
            await Link.open(Address.parse(server.url))


async def test_a_password_nobody_asked_for(server: Server) -> None:
    with pytest.raises(StateUnavailableError, match="without any password configured") as refused:
        await Link.open(Address.parse(f"{server.url}&password=secret"))
    assert "secret" not in refused.value.text


async def test_user_and_database(server: Server) -> None:
    with server.client() as client:
        client.acl_setuser("anna", enabled=True, passwords=["+a"], categories=["+@all"], keys=["*"])
    url = server.url.replace("unix://", "unix://anna:a@").replace("db=0", "db=5")
    async with await Link.open(Address.parse(url)) as link:
        await link.send(pack("ACL", "WHOAMI") + pack("CLIENT", "INFO"))
        whoami, info = await link.receive()
    assert whoami == b"anna"
    assert isinstance(info, bytes)
    assert b" db=5 " in info
    assert b" name=restms " in info


async def test_no_such_database(server: Server) -> None:
    with pytest.raises(StateUnavailableError, match="out of range"):
        await Link.open(Address.parse(server.url.replace("db=0", "db=99")))


async def serve_tls(nursery: trio.Nursery, server: Server, authority: trustme.CA) -> int:
    """Put TLS in front of a server; return the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def copy(source: trio.abc.ReceiveStream, target: trio.abc.SendStream) -> None:
        async for data in source:
            await target.send_all(data)

    async def serve(client: trio.abc.Stream) -> None:
        path = Address.parse(server.url).path
        assert path is not None
        try:
            async with (
                client,
                await trio.open_unix_socket(path) as backend,
                trio.open_nursery() as both,
            ):
                both.start_soon(copy, client, backend)
                await copy(backend, client)
                both.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # the client did not like the certificate, or hung up

    listeners = await nursery.start(
        partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
    )
    return int(listeners[0].transport_listener.socket.getsockname()[1])


async def test_tls(nursery: trio.Nursery, server: Server, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    port = await serve_tls(nursery, server, authority)
    url = f"rediss://localhost:{port}/0"
    async with await Link.open(Address.parse(f"{url}?ssl_ca_certs={tmp_path}/ca.pem")) as link:
        await link.send(pack("ECHO", "through TLS"))
        assert await link.receive() == [b"through TLS"]
    async with await Link.open(Address.parse(f"{url}?ssl_cert_reqs=none")):
        pass
    with pytest.raises(StateUnavailableError, match=r"(?i)certificate"):
        await Link.open(Address.parse(url))
    other = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem"
    with pytest.raises(StateUnavailableError, match=r"(?i)mismatch"):
        await Link.open(Address.parse(other))
    async with await Link.open(Address.parse(f"{other}&ssl_check_hostname=false")):
        pass


async def test_tls_to_a_server_without_it(nursery: trio.Nursery) -> None:
    plain = await play(nursery, b"-ERR what?\r\n")
    with pytest.raises(StateUnavailableError, match="Cannot connect"):
        await Link.open(Address.parse(f"rediss://127.0.0.1:{plain.port}"))


@pytest.mark.parametrize(
    "word",
    ["BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "OOM", "READONLY"],
)
def test_errors_that_mean_not_now(word: str) -> None:
    error = error_reply(f"{word} details that only an operator should see")
    assert isinstance(error, StateUnavailableError)
    assert "details" not in error.text


def test_other_errors_keep_their_meaning() -> None:
    assert isinstance(error_reply("NOSCRIPT No matching script."), NoScriptError)
    assert isinstance(error_reply("BUSYGROUP Consumer group exists"), ResponseError)
    assert isinstance(error_reply("ERR invalid password"), ResponseError)
    assert isinstance(error_reply(""), ResponseError)
