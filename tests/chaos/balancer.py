"""HAProxy, run with the configuration that the project ships."""

import csv
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.servers import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
START_SECONDS = 10.0


def find_haproxy() -> str | None:
    """Return where haproxy is; None where it is not installed."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Balancer:
    """The process. What it thinks of the nodes is asked for on a socket of its own."""

    def __init__(self, directory: Path, nodes: Sequence[int]) -> None:
        """`nodes` are ports."""
        self.port = free_port()
        self._socket = directory / "haproxy.sock"
        self._log = directory / "haproxy.log"
        more = directory / "more.cfg"
        more.write_text(f"global\n    stats socket {self._socket} mode 600 level operator\n")
        found = find_haproxy()
        assert found is not None
        places = {f"RESTMS_NODE_{n}": f"127.0.0.1:{port}" for n, port in enumerate(nodes, start=1)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [found, "-db", "-f", str(CONFIGURATION), "-f", str(more)],
                env={**os.environ, "RESTMS_BIND": f"127.0.0.1:{self.port}", **places},
                stdout=log,
                stderr=log,
            )

    async def started(self) -> None:
        """Wait until it listens; RuntimeError with its log if it never does."""
        with trio.move_on_after(START_SECONDS):
            while self._process.poll() is None:
                try:
                    await self.ups()
                except OSError:
                    await trio.sleep(0.02)
                else:
                    return
        raise RuntimeError(f"HAProxy did not start:\n{self._log.read_text()}")

    async def ups(self) -> list[bool]:
        """Tell of each node, in order, whether requests are sent to it."""
        async with await trio.open_unix_socket(str(self._socket)) as stream:
            await stream.send_all(b"show stat nodes 4 -1\n")
            said = b"".join([piece async for piece in stream])
        rows = csv.DictReader(said.decode().removeprefix("# ").splitlines())
        return [row["status"].startswith("UP") for row in rows]

    def close(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
