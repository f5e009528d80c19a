"""An issuer of tokens, its keys, and the server that they are fetched from."""

import base64
import http
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h11
import jwt
import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from restms_node.configured_access import Tokens
from restms_node.remembered import Remembered

ISSUER, AUDIENCE = "https://id.example", "restms"


def basic(name: str, password: str) -> str:
    """The value of Authorization for a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def replace(path: Path, text: str) -> None:
    """Change a file as a whole, so that nobody sees half of it."""
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


@dataclass
class Issuer:
    """Somebody who signs tokens, by two keys: one of RSA and one of an elliptic curve."""

    rsa: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    ec: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def pem(self) -> bytes:
        """The public key of RSA."""
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def jwks(self) -> dict[str, Any]:
        """Both public keys, named `r` and `e`."""
        return {
            "keys": [
                {**RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True), "kid": "r"},
                {**ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True), "kid": "e"},
            ]
        }

    def token(
        self, *, key: Any = None, algorithm: str = "RS256", kid: str | None = "r", **claims: Any
    ) -> str:
        """A token of alice's, which is right but for what is said otherwise; None takes away."""
        now = int(time.time())
        all_ = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 600, **claims}
        said = {name: value for name, value in all_.items() if value is not None}
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(said, key or self.rsa, algorithm, headers=headers)


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="session")
def stranger() -> Issuer:
    return Issuer()


@pytest.fixture
def tokens(tmp_path: Path, issuer: Issuer) -> Tokens:
    """What is configured for the issuer, whose keys are in a file."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks))
    return Tokens(ISSUER, (AUDIENCE,), ("RS256", "ES256"), path, "sub", "groups", "", 30.0)


@dataclass
class KeyServer:
    """A server of keys: what it answers with, and how often it was asked."""

    url: str = ""
    body: bytes = b""
    status: int = 200
    fetches: int = 0
    gate: trio.Event = field(default_factory=trio.Event)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer one request after the other, once the gate is open."""
        connection = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError):  # a client need not read to the end
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    self.fetches += 1
                    await self.gate.wait()
                    length = ("Content-Length", str(len(self.body)))
                    reason = http.HTTPStatus(self.status).phrase
                    head = h11.Response(
                        status_code=self.status, headers=[length], reason=reason.encode()
                    )
                    for part in (head, h11.Data(self.body), h11.EndOfMessage()):
                        await stream.send_all(connection.send(part) or b"")
                elif isinstance(event, h11.EndOfMessage):
                    connection.start_next_cycle()
                else:
                    return


@pytest.fixture
async def key_server(issuer: Issuer) -> AsyncIterator[KeyServer]:
    """A server of the issuer's keys, its gate open."""
    server = KeyServer(body=json.dumps(issuer.jwks).encode())
    server.gate.set()
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        )
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/jwks"
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(*of: Any) -> AsyncIterator[Remembered]:
    """Run what keeps authenticators up to date."""
    remembered = Remembered()
    async with trio.open_nursery() as nursery:
        for one in of:
            nursery.start_soon(one.run, remembered)
        yield remembered
        nursery.cancel_scope.cancel()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The hashes that passwords were checked against, which is what takes time."""
    from restms_node import users_file

    checked: list[str] = []
    fits = users_file.fits

    def counting(hashed: str, password: bytes) -> bool:
        checked.append(hashed)
        return fits(hashed, password)

    monkeypatch.setattr(users_file, "fits", counting)
    return lambda: list(checked)
