"""Two nodes, one with the lane and one without, and one of each kind of resource on them."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.nodes import Cluster
from tests.openapi.described import JSON, OPTIONS

DOMAIN, FEED = "/restms/domain/default", "/restms/feed/tested"


class Resources:
    """One of each kind, with a message in the pipe."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.fields: dict[str, dict[str, str]] = {}
        self.renew()

    def renew(self) -> None:
        """Make them, as they were in the beginning."""
        self._post(DOMAIN, b'{"restms":{"feed":{"name":"tested"}}}')
        private = self._post(DOMAIN, b'{"restms":{"feed":{}}}')
        pipe = self._post(DOMAIN, b'{"restms":{"pipe":{}}}')
        join = self._post(pipe, b'{"restms":{"join":{"feed":"/restms/feed/tested"}}}')
        self._post(FEED, b'{"restms":{"message":{"content":[{"value":"a"},{"value":"b"}]}}}')
        staged = self._post(FEED, b"bytes", "image/png")
        for uri in (private, pipe, join, staged):
            found = re.search("/([fpjc])([0-9a-f]{32})$", uri)
            assert found is not None
            self.fields[f"/restms/resource/{found[1]}{{secret}}"] = {"secret": found[2]}
        message = {**self.fields["/restms/resource/p{secret}"], "number": "1"}
        self.fields["/restms/resource/p{secret}-{number}"] = message
        self.fields["/restms/resource/p{secret}-{number}-{part}"] = {**message, "part": "1"}
        self.fields["/restms/domain/{domain}"] = {"domain": "default"}
        self.fields["/restms/feed/{feed}"] = {"feed": "tested"}
        self.fields["/restms/feed/{domain}/{feed}"] = {"domain": "default", "feed": "tested"}

    def _post(self, path: str, body: bytes, kind: str = JSON) -> str:
        answer = self._http.post(path, content=body, headers={"Content-Type": kind})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.headers.get("location", ""))


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with Cluster(1, "--wait-seconds", "1", *OPTIONS) as cluster:
        cluster.add("--no-lane")
        yield cluster


@pytest.fixture(scope="package")
def http(cluster: Cluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cluster.urls[0], timeout=20) as client:
        yield client


@pytest.fixture(scope="package")
def resources(http: httpx.Client) -> Resources:
    return Resources(http)
