"""A node with its embedded server, to be stopped and started again over the same data."""

import os
import signal
from pathlib import Path

import redis

from tests.nodes import Cluster, Node


class Alone(Cluster):
    """One node with its embedded server, in a directory that stays."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nodes = [self.started()]

    def started(self) -> Node:
        # The last --redis counts: none.
        options = ("--redis", "", "--data-dir", str(self.directory / "data"))
        node = Node(self.directory, "alone", "", options)
        node.await_url()
        return node

    def again(self, how: signal.Signals) -> None:
        """End it, and start another."""
        self.end(how)
        self.nodes = [self.started()]

    def end(self, how: signal.Signals) -> None:
        if how is signal.SIGKILL:
            socket = (self.directory / "data" / "socket").read_text()
            with redis.Redis(unix_socket_path=socket) as client:
                server = client.info("server")["process_id"]
            self.nodes[0].kill()
            os.kill(server, how)
        else:
            self.nodes[0].signal(how)
            assert self.nodes[0].ended() == 0

    def close(self) -> None:
        self.nodes[0].close()
