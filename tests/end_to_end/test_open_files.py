"""A node that has no file left for one more connection."""

import resource
import socket
from pathlib import Path

from tests.end_to_end.conftest import until
from tests.nodes import Cluster


def test_a_node_without_files_goes_on_as_soon_as_there_are_some() -> None:
    with Cluster(1) as cluster:
        node = cluster.nodes[0]
        had = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
        # As many as it has open already: what comes now is not even accepted.
        held = len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))
        resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (held, had[1]))
        host, port = node.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: "EMFILE" in node.log())
            resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, had)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert "Traceback" not in node.log()
        assert node.terminate() == 0
