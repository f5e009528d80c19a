"""The base of all URIs in an answer: configured, asked for, or forwarded by who may."""

from ipaddress import ip_network
from typing import Any

import pytest

from restms_cluster.errors import BadRequestError, MisdirectedError
from restms_node.config import Settings
from restms_node.cors import Cors
from restms_node.exchange import Answer
from restms_node.front import base_uri
from restms_node.hosts import Hosts

SCOPE = {"scheme": "http", "server": ("10.0.0.1", 8080), "client": ("10.0.0.9", 4711)}
FORWARDED = {
    "host": "node:8080",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "broker.example",
}


def base(headers: dict[str, str], scope: dict[str, Any] = SCOPE, **settings: Any) -> str:
    return base_uri(Settings(**settings), scope, headers)


def test_the_configured_base_goes_before_everything() -> None:
    assert base(FORWARDED, base_url="https://public.example/api") == "https://public.example/api"


def test_the_requests_own_host_is_used() -> None:
    assert base({"host": "broker.example:8080"}) == "http://broker.example:8080"
    assert base({"host": "[::1]:8080"}) == "http://[::1]:8080"


def test_http_1_0_has_no_host() -> None:
    assert base({}) == "http://10.0.0.1:8080"
    assert base({}, SCOPE | {"server": ("::1", 8080)}) == "http://[::1]:8080"


def test_forwarded_headers_count_only_from_trusted_proxies() -> None:
    assert base(FORWARDED) == "http://node:8080"
    trusted = (ip_network("10.0.0.0/24"),)
    assert base(FORWARDED, trusted_proxies=trusted) == "https://broker.example"
    mapped = SCOPE | {"client": ("::ffff:10.0.0.9", 1)}  # as IPv4 comes to a socket of IPv6
    assert base(FORWARDED, mapped, trusted_proxies=trusted) == "https://broker.example"
    assert base(FORWARDED, SCOPE | {"client": ("10.9.9.9", 1)}, trusted_proxies=trusted) == (
        "http://node:8080"
    )
    assert base(FORWARDED, SCOPE | {"client": None}, trusted_proxies=trusted) == "http://node:8080"
    # What a client wrote itself stands left of what the proxy added.
    chain = FORWARDED | {"x-forwarded-host": "evil.example, broker.example"}
    assert base(chain, trusted_proxies=trusted) == "https://broker.example"


HOSTILE = ["a b", "x/y", "user@host", 'x"', "[::1", "h:port", "h:123456", "a..b", ".", "a,b",
           "x" * 64, "x." * 127, "\u212a", "x\r\nA: b"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTILE)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(BadRequestError):
        base({"host": host})


def test_a_forwarded_scheme_must_be_http() -> None:
    with pytest.raises(BadRequestError):
        base(
            FORWARDED | {"x-forwarded-proto": "javascript"},
            trusted_proxies=(ip_network("::/0"), ip_network("0.0.0.0/0")),
        )


def test_cors_is_off_unless_configured() -> None:
    answer = Answer(200)
    assert Cors(()).allow({"Origin": "https://a.example"}, answer) == answer


def test_cors_lets_configured_origins_see_the_answer() -> None:
    cors = Cors(["https://a.example"])
    allowed = dict(cors.allow({"Origin": "https://a.example"}, Answer(200)).headers)
    assert allowed["Access-Control-Allow-Origin"] == "https://a.example"
    assert "Location" in allowed["Access-Control-Expose-Headers"]
    refused = dict(cors.allow({"Origin": "https://b.example"}, Answer(200)).headers)
    assert refused == {"Vary": "Origin"}
    assert cors.allow({}, Answer(200)).headers == (("Vary", "Origin"),)


def test_pages_of_other_origins_change_nothing() -> None:
    base = "https://broker.example/api"
    cors = Cors(["https://a.example"])
    assert cors.admits({}, base)  # no browser
    own = {"origin": "https://broker.example"}
    assert cors.admits(own, base)
    assert cors.admits(own, "http://broker.example")  # TLS ended at a proxy
    assert cors.admits({"origin": "https://a.example"}, base)
    for origin in ("https://broker.example:8443", "https://b.example", "null", ""):
        assert not cors.admits({"origin": origin}, base)
    assert Cors(["*"]).admits({"origin": "https://b.example"}, base)


@pytest.mark.parametrize(
    ("site", "admitted"),
    [("none", True), ("same-origin", True), ("same-site", False), ("cross-site", False)],
)
def test_a_browser_without_an_origin_tells_whose_page_it_is(site: str, admitted: bool) -> None:
    assert Cors(()).admits({"sec-fetch-site": site}, "http://broker.example") == admitted
    assert Cors(["*"]).admits({"sec-fetch-site": site}, "http://broker.example")


LOOPBACK = ["localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1:8080", "127.8.9.1", "[::1]:80"]
FOREIGN = ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
           "[::]", "[::2]", "[::1", "127.1", "evil.localhost"]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_who_is_on_the_machine_asks_for_it(host: str) -> None:
    Hosts(Settings()).check(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_is_made_to_lead_here_is_refused(host: str) -> None:
    for settings in (Settings(), Settings(base_url="https://broker.example")):
        with pytest.raises(MisdirectedError):
            Hosts(settings).check(host)


def test_more_names_can_be_allowed() -> None:
    named = Settings(hosts=("node.example",), base_url="https://broker.example:8443/api")
    for host in ("Node.example:80", "broker.example:8443", "localhost"):
        Hosts(named).check(host)
    Hosts(Settings(hosts=("*",))).check("any.example")
    Hosts(Settings()).check(None)  # HTTP/1.0: no browser's
    # Where other machines come in, or who comes in is asked, only what is named is required.
    Hosts(Settings(insecure=True)).check("any.example")
    with pytest.raises(MisdirectedError):
        Hosts(Settings(insecure=True, hosts=("node.example",))).check("any.example")


def test_cors_answers_a_preflight() -> None:
    preflight = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "prefer",
    }
    allowed = dict(Cors(["*"]).allow(preflight, Answer(200)).headers)
    assert allowed["Access-Control-Allow-Origin"] == "*"
    assert "DELETE" in allowed["Access-Control-Allow-Methods"]
    assert allowed["Access-Control-Allow-Headers"] == "prefer"
