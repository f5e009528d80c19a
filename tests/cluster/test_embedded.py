"""The embedded server: it keeps its data, comes back when it dies, and leaves nothing behind."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
import trio

from restms_cluster import data_directory, embedded
from restms_cluster.address import Address
from restms_cluster.embedded import EmbeddedServer
from restms_cluster.errors import StartError

PATIENCE_SECONDS = 60

NODE = """
import sys, trio
from pathlib import Path
from tempfile import TemporaryDirectory
from restms_cluster.embedded import EmbeddedServer

async def main():
    async with trio.open_nursery() as nursery:
        print(await nursery.start(EmbeddedServer(Path(sys.argv[1])).run), flush=True)

trio.run(main)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data"


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[redis.Redis]:
    """Run a server, and give a client of it."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_SECONDS):
            url = await nursery.start(EmbeddedServer(directory).run)
        with redis.Redis.from_url(url) as client:
            yield client
        nursery.cancel_scope.cancel()


async def refused(directory: Path) -> str:
    """Try to run a server that cannot be; return the sentence."""
    with pytest.raises(StartError) as caught, trio.fail_after(PATIENCE_SECONDS):
        await EmbeddedServer(directory).run()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def process_of(client: redis.Redis) -> int:
    return int(client.info("server")["process_id"])


async def until_gone(process: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while runs(process):
            await trio.sleep(0.01)


def runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # else it has ended, and nobody has asked how


def permissions(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def killed_node(directory: Path) -> Iterator[redis.Redis]:
    """A client of the server that a killed node left behind."""
    node = subprocess.Popen([sys.executable, "-c", NODE, str(directory)], stdout=subprocess.PIPE)
    assert node.stdout is not None
    with redis.Redis.from_url(node.stdout.readline().decode().strip()) as client:
        client.set("greeting", "hello")
        node.kill()
        node.wait()
        node.stdout.close()
        yield client


@pytest.fixture
def late_orphan(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server left behind by a node that was killed in the moment it had started it."""
    directory.mkdir(parents=True)
    command = (
        f"sleep 0.3; exec {embedded.find_binary()} --port 0 --unixsocket {directory}/redis.sock "
        f"--dir {directory} --logfile {directory}/late.log"
    )
    with (directory / "server.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(["sh", "-c", command], pass_fds=(lock.fileno(),))
    yield orphan
    orphan.kill()
    orphan.wait()


async def test_data_is_there_after_a_restart(directory: Path) -> None:
    async with running(directory) as client:
        client.set("greeting", "hello")
        process = process_of(client)
    await until_gone(process)
    async with running(directory) as client:
        assert client.get("greeting") == b"hello"


async def test_it_listens_for_its_owner_only(directory: Path) -> None:
    async with running(directory) as client:
        assert permissions(directory) == 0o700
        assert permissions(directory / "redis.sock") == 0o700
        assert client.info("server")["tcp_port"] == 0


async def test_it_tells_of_changes_to_streams(directory: Path) -> None:
    async with running(directory) as client:
        with client.pubsub() as hints:
            hints.subscribe("__keyspace@0__:stream")
            assert hints.get_message(timeout=PATIENCE_SECONDS)
            client.xadd("stream", {"a": "b"})
            hint = hints.get_message(timeout=PATIENCE_SECONDS)
        assert hint is not None
        assert hint["data"] == b"xadd"


async def test_a_server_that_dies_is_started_again(directory: Path) -> None:
    async with running(directory) as client:
        client.set("greeting", "hello")
        first = process_of(client)
        await trio.to_thread.run_sync(client.execute_command, "WAITAOF", 1, 0, 10_000)
        os.kill(first, signal.SIGKILL)
        await until_gone(first)
        with trio.fail_after(PATIENCE_SECONDS):
            while not answers(client):
                await trio.sleep(0.01)
        assert process_of(client) != first
        assert client.get("greeting") == b"hello"


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:  # also while it loads
        return False


async def test_a_killed_nodes_server_is_ended_before_the_next_starts(
    directory: Path, killed_node: redis.Redis
) -> None:
    orphan = process_of(killed_node)
    async with running(directory) as client:
        assert not runs(orphan)
        assert process_of(client) != orphan
        assert client.get("greeting") == b"hello"


async def test_a_killed_nodes_server_that_does_not_listen_yet_is_ended_too(
    directory: Path, late_orphan: subprocess.Popen[bytes]
) -> None:
    async with running(directory) as client:
        assert late_orphan.poll() == 0
        assert client.ping()


async def test_a_killed_nodes_server_that_does_not_end_keeps_its_data_to_itself(
    directory: Path, killed_node: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_directory, "ORPHAN_SECONDS", 0.2)
    orphan = process_of(killed_node)
    os.kill(orphan, signal.SIGSTOP)
    assert "does not end" in await refused(directory)
    os.kill(orphan, signal.SIGCONT)
    monkeypatch.undo()
    async with running(directory) as client:
        assert client.get("greeting") == b"hello"


async def test_two_nodes_do_not_share_a_directory(directory: Path) -> None:
    async with running(directory) as client:
        assert "in use by another restms" in await refused(directory)
        assert client.ping()


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    async with running(directory) as client:
        client.set("greeting", "hello")
        socket = Path(os.fsdecode((directory / "socket").read_bytes()))
        assert len(str(socket)) < 100
        assert permissions(socket.parent) == 0o700
    assert not socket.parent.exists()
    async with running(directory) as client:
        assert client.get("greeting") == b"hello"


async def test_odd_characters_in_the_path_are_no_hindrance() -> None:
    # Where tests run in several processes, the path of their folders alone is too long.
    with TemporaryDirectory(prefix="restms-") as place:
        directory = Path(place) / "my data? #1 %41 é"
        async with trio.open_nursery() as nursery:
            url = await nursery.start(EmbeddedServer(directory).run)
            assert Address.parse(url).path == str(directory / "redis.sock")
            nursery.cancel_scope.cancel()


async def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be used: File exists" in await refused(tmp_path / "file")
    assert "cannot be used: Not a directory" in await refused(tmp_path / "file" / "data")


async def test_a_directory_that_cannot_be_written_is_told() -> None:
    # Not by permissions: whoever runs the tests may be root.
    assert "cannot be used" in await refused(Path("/proc/restms"))


async def test_broken_data_is_told_in_the_servers_own_words(directory: Path) -> None:
    async with running(directory):
        pass
    [file] = (directory / "appendonlydir").glob("*.incr.aof")
    file.write_text("these are no commands\n")
    assert "Bad file format" in await refused(directory)


async def test_an_installed_server_serves_where_there_is_no_packaged_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "files", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "There is no redis-server" in await refused(tmp_path / "data")
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).touch(mode=0o700)
        assert embedded.find_binary() == tmp_path / name


async def test_a_server_that_cannot_be_run_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "files", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "redis-server").write_text("#!/nowhere/at/all\n")
    (tmp_path / "redis-server").chmod(0o700)
    assert "cannot be run" in await refused(tmp_path / "data")


async def test_it_is_in_a_session_of_its_own_so_that_ctrl_c_reaches_the_node_only(
    directory: Path,
) -> None:
    async with running(directory) as client:
        assert os.getsid(process_of(client)) != os.getsid(0)


@pytest.fixture
def mute_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installed server that runs and says nothing."""
    monkeypatch.setattr(embedded, "files", lambda _: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "redis-server").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "redis-server").chmod(0o700)


@pytest.mark.usefixtures("mute_server")
async def test_a_server_that_does_not_answer_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.1)
    assert "does not answer" in await refused(directory)


async def test_a_server_that_loads_a_large_file_may_take_longer(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.1)
    loading_until = trio.current_time() + 0.3

    async def ask(socket: Path, command: bytes) -> bytes:
        loading = trio.current_time() < loading_until
        return b"-LOADING dataset\r\n" if loading else await data_directory.ask(socket, command)

    monkeypatch.setattr(embedded, "ask", ask)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_SECONDS):
            await nursery.start(EmbeddedServer(directory).run)
        nursery.cancel_scope.cancel()


async def test_a_server_that_does_not_stop_is_killed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)
    async with running(directory) as client:
        process = process_of(client)
        os.kill(process, signal.SIGSTOP)
    assert not runs(process)
