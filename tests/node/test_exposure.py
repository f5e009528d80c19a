"""A server does not stand open to other machines by mistake."""

import socket
from pathlib import Path

import pytest

from restms_cluster.errors import StartError
from restms_node.config import Settings
from restms_node.configured_access import Authenticators
from restms_node.exposure import place_of

GUARDED = Authenticators(keys=Path("/keys"))


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "localhost:80"])
def test_this_machine_alone_may_come_in_unasked(bind: str) -> None:
    assert place_of(Settings(bind=bind))


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "[2001:db8::1]:80"])
def test_others_may_not(bind: str) -> None:
    with pytest.raises(StartError) as caught:
        place_of(Settings(bind=bind))
    assert str(caught.value) == (
        f"{bind} can be reached from other machines, and no authenticator is configured: "
        "name one in the file that --config gives, or say --insecure."
    )
    assert place_of(Settings(bind=bind, insecure=True))
    assert place_of(Settings(bind=bind, authenticators=GUARDED))


def test_a_name_must_mean_this_machine_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*_: object, **__: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.1", 80)), (*kind, ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    with pytest.raises(StartError):
        place_of(Settings(bind="localhost:80"))


def test_a_name_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(StartError, match=r"Cannot listen on nowhere\.example:80: Name or service"):
        place_of(Settings(bind="nowhere.example:80"))
