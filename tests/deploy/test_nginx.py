"""What `deploy/nginx.conf` does with requests that nodes refuse, drop or never see."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.deploy.nginx import Nginx, find_nginx

pytestmark = pytest.mark.skipif(find_nginx() is None, reason="nginx is not installed")

OK, DRAINS = 200, 503
DROPPED = 0
NOBODY = 1  # a port that nobody listens on


@dataclass
class FakeNode:
    """Gives every request one answer, or closes without any."""

    status: int = OK
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Serve; enter with the port."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                named = {name.lower(): value for name, value in self.headers.items()}
                node.seen.append((self.command, named))
                self.rfile.read(int(named.get("content-length", "0")))
                if node.status == DROPPED:
                    self.close_connection = True
                    return
                self.send_response(node.status)
                self.send_header("Content-Length", "0")
                if node.status == DRAINS:
                    self.send_header("Retry-After", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield server.server_address[1]
            server.shutdown()
            thread.join()


Behind = Callable[..., httpx.Client]


@pytest.fixture
def behind() -> Iterator[Behind]:
    """Start nginx in front of nodes; a number is a port. Returns a client of it."""
    with ExitStack() as stack:

        def start(*nodes: FakeNode | int) -> httpx.Client:
            directory = Path(tempfile.mkdtemp(prefix="restms-"))
            stack.callback(shutil.rmtree, directory)
            ports = [n if isinstance(n, int) else stack.enter_context(n.serving()) for n in nodes]
            nginx = Nginx(directory, ports)
            stack.callback(nginx.close)
            return stack.enter_context(httpx.Client(base_url=nginx.url))

        yield start


def methods(*nodes: FakeNode) -> list[str]:
    return [method for node in nodes for method, _ in node.seen]


def test_only_what_is_idempotent_is_repeated_where_a_node_gave_no_answer(behind: Behind) -> None:
    lost, well = FakeNode(DROPPED), FakeNode()
    client = behind(lost, well)
    for method in ("GET", "HEAD", "DELETE"):
        answers = [client.request(method, "/").status_code for _ in range(2)]
        assert (method, answers) == (method, [200, 200])
    lost.seen.clear()
    well.seen.clear()
    # It comes to whichever node is next, and to that one only.
    answers = [client.post("/", content=b"x").status_code for _ in range(4)]
    assert set(answers) <= {200, 502}
    assert methods(lost, well) == ["POST"] * 4


def test_a_lost_answer_is_told_in_a_sentence(behind: Behind) -> None:
    client = behind(FakeNode(DROPPED))
    for method in ("GET", "DELETE", "POST"):
        answer = client.request(method, "/", content=b"x" if method == "POST" else None)
        assert (method, answer.status_code, answer.headers.get("Retry-After")) == (
            method,
            502,
            "1",
        ), answer.text
        assert answer.text == "No node has answered.\n"
        assert answer.headers["Content-Type"] == "text/plain"


def test_a_node_that_drains_refuses_a_read_which_another_answers(behind: Behind) -> None:
    client = behind(FakeNode(DRAINS), FakeNode())
    assert [client.get("/").status_code for _ in range(4)] == [200] * 4


def test_what_a_node_refuses_is_told_as_it_says(behind: Behind) -> None:
    answer = behind(FakeNode(DRAINS), FakeNode(DRAINS)).post("/", content=b"x")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "0")


def test_what_never_reached_a_node_goes_to_another(behind: Behind) -> None:
    client = behind(NOBODY, FakeNode())
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert [client.request(method, "/").status_code for _ in range(3)] == [200] * 3


def test_what_clients_claim_of_themselves_does_not_pass(behind: Behind) -> None:
    node = FakeNode()
    forged = ("X-Forwarded-For", "X-Forwarded-Host", "Client-Cert", "X-Client-Subject")
    client = behind(node)
    client.get("/", headers={**dict.fromkeys(forged, "evil"), "X-Forwarded-Proto": "https"})
    client.post("/", content=b"x", headers={**dict.fromkeys(forged, "evil"), "Host": "a.example"})
    for _, named in node.seen:
        assert named["x-forwarded-for"] == "127.0.0.1"
        assert named["x-forwarded-host"] == named["host"]
        assert named["x-forwarded-proto"] == "http"
        assert {"client-cert", "x-client-subject"}.isdisjoint(named)
    assert [named["host"] for _, named in node.seen] == [
        client.base_url.netloc.decode(),
        "a.example",
    ]


def test_connections_to_nodes_are_kept_and_cannot_become_another_protocol(behind: Behind) -> None:
    node = FakeNode()
    client = behind(node)
    client.get("/", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    client.get("/", headers={"Connection": "Upgrade", "Upgrade": "WebSocket"})
    (_, plain), (_, upgraded) = node.seen
    assert {"upgrade", "connection"}.isdisjoint(plain)
    assert (upgraded["upgrade"], upgraded["connection"]) == ("websocket", "upgrade")
