"""Who comes in, at real nodes: one with the lane and one without, which must not differ."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest

from tests.access.conftest import Issuer, basic
from tests.end_to_end.conftest import until
from tests.nodes import Cluster

PASSWORD = "correct horse"
DOCUMENT = {"Content-Type": "application/restms+xml"}
EMPTY = "<restms><message/></restms>"
CHALLENGES = 'Basic realm="restms", charset="UTF-8", Bearer realm="restms"'
REFUSED = "The credentials are not right.\n"


class KeyServer:
    """Serves an issuer's keys on a port of its own."""

    def __init__(self, issuer: Issuer) -> None:
        self.fetches = 0
        body = json.dumps(issuer.jwks).encode()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetches += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        Thread(target=self.server.serve_forever, daemon=True).start()


def restms(*arguments: object, told: str = "") -> str:
    """Run a command of restms; return what it prints."""
    command = [sys.executable, "-m", "restms_node", *map(str, arguments)]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Guarded:
    """Two nodes that ask who comes in, and what is right to say."""

    def __init__(self, folder: Path) -> None:
        self.issuer = Issuer()
        self.keys = KeyServer(self.issuer)
        self.users = folder / "users"
        restms("passwd", self.users, "alice", told=PASSWORD)
        self.key = restms("key", folder / "keys", "billing")
        self.token = self.issuer.token()
        self.config = folder / "restms.toml"
        self.config.write_text(
            f"""
            trusted_proxies = ["127.0.0.1"]
            login_rate = "off"  # all the wrong ones here come from one address
            [[authenticator]]
            type = "basic"
            file = "users"
            [[authenticator]]
            type = "keys"
            file = "keys"
            [[authenticator]]
            type = "jwt"
            issuer = "https://id.example"
            audience = ["restms"]
            keys = "{self.keys.url}"
            [[authenticator]]
            type = "certificate"
            header = "X-Client-Subject"
            [[rule]]
            principal = "*"
            verbs = ["configure", "publish", "subscribe"]
            domain = "*"
            feed = "*"
            """
        )
        self.cluster = Cluster(1, "--config", str(self.config), "--log-level", "debug")
        try:
            self.cluster.add("--no-lane")
        except BaseException:
            self.close()
            raise

    @property
    def right(self) -> list[dict[str, str]]:
        """Headers that let somebody in, of each kind."""
        return [
            {"Authorization": basic("alice", PASSWORD)},
            {"Authorization": f"Bearer {self.key}"},
            {"Authorization": f"bearer {self.token}"},
            {"X-Client-Subject": "CN=pump"},
        ]

    @property
    def wrong(self) -> list[dict[str, str]]:
        """Headers that do not."""
        return [
            {"Authorization": basic("alice", PASSWORD + "!")},
            {"Authorization": basic("bob", PASSWORD)},
            {"Authorization": f"Bearer {self.key}A"},
            {"Authorization": f"Bearer {self.issuer.token(exp=int(time.time()) - 60)}"},
            {"Authorization": f"Bearer {Issuer().token()}"},
            {"Authorization": "Negotiate x"},
            {"X-Client-Subject": "a" * 256},
            # What a proxy says does not make up for what the client says itself.
            {"X-Client-Subject": "CN=pump", "Authorization": "Bearer x.y"},
        ]

    def close(self) -> None:
        self.cluster.close()
        self.keys.server.shutdown()
        self.keys.server.server_close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    one = Guarded(tmp_path_factory.mktemp("access"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=20) as one:
        yield one


def asked(
    client: httpx.Client, url: str, headers: dict[str, str], path: str = ""
) -> list[httpx.Response]:
    """The answers to requests of each front's, and to one with a body."""
    return [
        client.get(f"{url}/restms/domain/default", headers=headers),
        client.get(f"{url}/restms/resource/p{'0' * 32}-1", headers=headers),
        client.post(f"{url}/restms/feed/default", content=EMPTY, headers={**DOCUMENT, **headers}),
        client.options(f"{url}/restms/feed/default", headers=headers),
    ]


def exchanged(url: str, request: str) -> str:
    """What a node answers to bytes, whatever else it waits for: the answer's head."""
    at = urlsplit(url)
    with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        come = b""
        while b"\r\n\r\n" not in come:
            some = connection.recv(4096)
            if not some:
                break
            come += some
    return come.decode()


def test_each_kind_comes_in_everywhere(guarded: Guarded, client: httpx.Client) -> None:
    for url in guarded.cluster.urls:
        for headers in guarded.right:
            for _ in range(2):  # also those who are remembered
                assert all(answer.status_code != 401 for answer in asked(client, url, headers))


def test_what_is_wrong_is_refused_everywhere(guarded: Guarded, client: httpx.Client) -> None:
    for url in guarded.cluster.urls:
        for headers in guarded.wrong:
            for answer in asked(client, url, headers):
                assert (answer.status_code, answer.text) == (401, REFUSED)
                assert answer.headers["www-authenticate"] == CHALLENGES
                assert answer.headers["restms-error"] == "unauthorized"


def test_whoever_looks_after_nodes_is_not_asked(guarded: Guarded, client: httpx.Client) -> None:
    for url in guarded.cluster.urls:
        for path in ("/livez", "/readyz"):
            for headers in ({}, *guarded.wrong):
                assert client.get(url + path, headers=headers).status_code == 200


def test_two_answers_to_one_question_are_refused(guarded: Guarded) -> None:
    for url in guarded.cluster.urls:
        for path in ("/restms/domain/default", f"/restms/resource/p{'0' * 32}-1"):
            for name, value in (
                ("Authorization", f"Bearer {guarded.key}"),
                ("X-Client-Subject", "CN=admin"),
            ):
                twice = f"{name}: {value}\n{name.lower()}: {value}\n"
                answer = exchanged(url, f"GET {path} HTTP/1.1\nHost: a\n{twice}\n")
                assert answer.startswith("HTTP/1.1 400 ")


def test_nobody_waits_for_the_body_of_who_does_not_come_in(guarded: Guarded) -> None:
    head = (
        "POST /restms/feed/default HTTP/1.1\nHost: a\nContent-Type: application/restms+xml\n"
        "Content-Length: 1000\nAuthorization: Bearer x.y\n\n"
    )
    for url in guarded.cluster.urls:
        assert exchanged(url, head).startswith("HTTP/1.1 401 ")


def test_a_refused_reader_keeps_his_connection(guarded: Guarded) -> None:
    get = f"GET /restms/resource/p{'0' * 32}-1 HTTP/1.1\nHost: a\nAuthorization: "
    for url in guarded.cluster.urls:
        at = urlsplit(url)
        with socket.create_connection((at.hostname or "", at.port or 0), timeout=20) as connection:
            for value, status in (("Basic ?", b"401"), (f"Bearer {guarded.key}", b"40[34]")):
                connection.sendall(f"{get}{value}\n\n".replace("\n", "\r\n").encode())
                come = b""
                while not come.endswith(b".\n"):
                    come += connection.recv(4096)
                assert re.match(rb"HTTP/1.1 %s " % status, come)


def test_a_websocket_is_opened_by_the_same_header(guarded: Guarded) -> None:
    handshake = (
        f"GET /restms/resource/p{'0' * 32} HTTP/1.1\nHost: a\nConnection: Upgrade\n"
        "Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: restms\n"
        f"Sec-WebSocket-Key: {'A' * 22}==\n"
    )
    for url in guarded.cluster.urls:
        wrong = exchanged(url, f"{handshake}Authorization: Bearer x.y\n\n")
        assert wrong.startswith("HTTP/1.1 401 ")
        assert "www-authenticate: Basic" in wrong
        right = exchanged(url, f"{handshake}Authorization: Bearer {guarded.key}\n\n")
        assert re.match(r"HTTP/1.1 40[34] ", right)  # let in, to find that there is no such pipe


def test_tokens_with_unknown_keys_do_not_storm_the_issuer(
    guarded: Guarded, client: httpx.Client
) -> None:
    before = guarded.keys.fetches
    for number in range(10):
        headers = {"Authorization": f"Bearer {guarded.issuer.token(kid=str(number))}"}
        for url in guarded.cluster.urls:
            assert asked(client, url, headers)[1].status_code == 401
    assert guarded.keys.fetches <= before + 2 * len(guarded.cluster.urls)


def test_a_user_is_added_and_taken_out_while_nodes_run(
    guarded: Guarded, client: httpx.Client
) -> None:
    headers = {"Authorization": basic("carol", "new here")}

    def seen(status: int) -> bool:
        return all(
            (asked(client, url, headers)[1].status_code == 401) == (status == 401)
            for url in guarded.cluster.urls
        )

    assert seen(401)
    restms("passwd", guarded.users, "carol", told="new here")
    until(lambda: seen(404))
    restms("passwd", guarded.users, "carol", "--delete")
    until(lambda: seen(401))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_node_that_others_reach_must_ask(guarded: Guarded, workers: str) -> None:
    options = ("--bind", "0.0.0.0:0", "--workers", workers, "--log-format", "human")
    with pytest.raises(RuntimeError, match=r"restms: 0\.0\.0\.0:0 can be reached from other"):
        Cluster(1, *options, redis=guarded.cluster.redis)


def test_workers_ask_as_well_and_say_once_what_is_wrong(
    guarded: Guarded, client: httpx.Client, tmp_path: Path
) -> None:
    options = ("--config", str(guarded.config), "--workers", "2")
    with Cluster(1, *options, redis=guarded.cluster.redis) as cluster:
        for _ in range(4):
            for headers, refused in ((guarded.right[0], False), (guarded.wrong[0], True)):
                for answer in asked(client, cluster.urls[0], headers):
                    assert (answer.status_code == 401) is refused
    config = tmp_path / "restms.toml"
    config.write_text('[[authenticator]]\ntype = "basic"\nfile = "users"\n')
    (tmp_path / "users").write_text("\nalice:secret\n")
    with pytest.raises(RuntimeError) as caught:
        Cluster(1, "--config", str(config), "--workers", "2", redis=guarded.cluster.redis)
    told = [line for line in str(caught.value).splitlines() if '"critical"' in line]
    fault = f"{tmp_path}/users:2: What follows the name is no hash of argon2id."
    assert [json.loads(line)["message"] for line in told] == [fault]


def test_no_secret_is_in_the_log(guarded: Guarded, client: httpx.Client) -> None:
    for url in guarded.cluster.urls:
        for headers in (*guarded.right, *guarded.wrong):
            asked(client, url, headers)
    log = guarded.cluster.log()
    secrets = (
        *(PASSWORD, "correct", guarded.key, guarded.key.partition(".")[2]),
        *(guarded.token, guarded.token.rpartition(".")[2]),
        *(
            headers.get("Authorization", "-none-").partition(" ")[2][4:]
            for headers in guarded.right
        ),
    )
    for secret in secrets:
        assert not secret or secret not in log
