"""The description is OpenAPI 3.1, every node has it, and it tells of every route and no other."""

import inspect
from string import Formatter

import httpx
import openapi_spec_validator
import pytest

from restms_cluster.errors import RestMSError
from restms_node import openapi, routes
from restms_node.openapi_parts import ERRORS
from restms_node.openapi_schemas import FEED, JOIN, MESSAGE, PIPE
from restms_node.representations import REPRESENTATIONS, Representation
from restms_node.uris import Uris
from tests.nodes import Cluster
from tests.openapi.described import described

SAMPLES = {
    "domain": "default",
    "specification": "3",
    "profile": "Defaults",
    "feed": "news",
    "secret": "0123456789abcdef0123456789abcdef",
    "number": "7",
    "part": "2",
}
TABLES = [table for name, table in vars(routes).items() if name.isupper() and "GET" in table]


def test_it_is_valid() -> None:
    openapi_spec_validator.validate(described())


def test_every_node_has_the_same(cluster: Cluster) -> None:
    answers = [httpx.get(f"{url}/openapi.json") for url in cluster.urls]
    assert [answer.json() for answer in answers] == [described()] * len(cluster.urls)
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}


def test_it_is_sent_once_to_who_keeps_it(http: httpx.Client) -> None:
    tag = http.get("/openapi.json").headers["etag"]
    again = http.get("/openapi.json", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag


@pytest.mark.parametrize("path", openapi.RESOURCES)
def test_a_path_is_that_of_its_resource(path: str) -> None:
    _, table = openapi.RESOURCES[path]
    names = {field for _, field, _, _ in Formatter().parse(path) if field}
    target = Uris("http://x").target(path.format(**SAMPLES))
    assert routes.methods(target) is table
    assert names <= set(SAMPLES)


def test_every_table_of_methods_is_described() -> None:
    assert len(TABLES) == 7
    described_tables = [table for _, table in openapi.RESOURCES.values()]
    assert all(table in described_tables for table in TABLES)
    for path, (_, table) in openapi.RESOURCES.items():
        methods = set(described()["paths"][path]) - {"parameters"}
        assert methods == {method.lower() for method in (*table, "HEAD", "OPTIONS")}


def test_every_refusal_is_described() -> None:
    from restms_cluster import errors

    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    refusals = {kind for kind in kinds if issubclass(kind, RestMSError) and kind.status != 500}
    assert refusals == {kind for _, known in ERRORS.values() for kind in known}
    assert all(
        str(kind.status) == status for status, (_, kinds) in ERRORS.items() for kind in kinds
    )


@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=lambda one: one.media_type)
def test_the_examples_work_one_after_the_other(
    representation: Representation, http: httpx.Client
) -> None:
    headers = {"Content-Type": representation.media_type, "Accept": representation.media_type}

    def post(path: str, tree: object) -> httpx.Response:
        answer = http.post(path, content=representation.write(tree), headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer

    post("/restms/domain/default", FEED)
    pipe = post("/restms/domain/default", PIPE).headers["location"]
    post(pipe, JOIN)
    post("/restms/feed/news", MESSAGE)
    message = http.get(f"{pipe}-1", headers=headers)
    assert representation.read(message.content)["message"][0]["address"] == "weather.oslo"


def test_the_pages_have_get_only(http: httpx.Client) -> None:
    for page in ("/livez", "/readyz", openapi.PATH):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = http.request(method, page)
            assert (answer.status_code, answer.headers["allow"]) == (403, "GET, HEAD, OPTIONS")
        assert http.options(page).headers["allow"] == "GET, HEAD, OPTIONS"
