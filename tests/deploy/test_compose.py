"""`deploy/compose.yaml`: what it says is right, and what it describes works."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.balancer import find_haproxy
from tests.conformance.client import DEFAULT_FEED, Client
from tests.conformance.documents import data_of, message, text
from tests.deploy import compose


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return compose.described(compose.FILE.read_text(), compose.SECRETS)


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_every_service_has_no_more_rights_than_it_needs(described: dict[str, Any]) -> None:
    for name, service in described["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert "privileged" not in service


def test_only_the_proxy_can_be_reached_and_from_here_only(
    described: dict[str, Any],
) -> None:
    published = {name: s["ports"] for name, s in described["services"].items() if "ports" in s}
    assert published == {"haproxy": ["127.0.0.1:8080:8080"]}
    assert described["networks"]["inside"]["internal"]


def test_every_image_has_a_version(described: dict[str, Any]) -> None:
    images = {service["image"] for service in described["services"].values()}
    assert all(re.search(r":\d+\.\d", image) for image in images), images


def test_a_wrong_file_would_be_refused() -> None:
    text = compose.FILE.read_text().replace("read_only: true", "readonly: true")
    with pytest.raises(ValueError, match="readonly"):
        compose.described(text, compose.SECRETS)


def test_without_passwords_nothing_starts() -> None:
    for name in compose.SECRETS:
        assert f"${{{name}:?" in compose.FILE.read_text()


@pytest.mark.skipif(find_haproxy() is None, reason="HAProxy is not installed")
def test_what_it_describes_passes_messages_on(tmp_path: Path) -> None:
    with compose.services(tmp_path) as url, Client([url]) as client:
        pipe = client.create_pipe()
        assert pipe.startswith(url)  # HAProxy is believed
        waiting = client.get_later(f"{pipe}-1")
        assert waiting.waits()
        client.publish(DEFAULT_FEED, message(pipe.rpartition("/")[2], text("Hello")))
        assert waiting.answer().status_code == 200
        received = client.consume(pipe)
        assert data_of(received["content"][0]) == b"Hello"
        # Nobody else's page has its name lead here.
        assert client.get(pipe, host="evil.example").status_code == 421
    logs = {path.stem: path.read_text() for path in tmp_path.glob("*.log")}
    assert {"valkey", "node-1", "node-2", "haproxy"} == set(logs)
    assert "WARNING" not in logs["node-1"] + logs["node-2"]
