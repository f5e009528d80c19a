"""The description as the tests read it, of nodes whose limits are small."""

import json
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig

from restms_cluster.model import Limits
from restms_node import openapi
from restms_node.config import Settings

JSON = "application/restms+json"
DATES = ["Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 31 Jan 2036 23:59:59 GMT"]
EXAMPLES = 8
"""How many requests each operation is tried with, beside those that try each bound."""

LIMITS = {
    "text_length": 100,
    "address_length": 60,
    "name_length": 40,
    "messages_per_request": 4,
    "headers_per_message": 3,
    "contents_per_message": 2,
}
OPTIONS = [
    text for name, value in LIMITS.items() for text in (f"--{name.replace('_', '-')}", str(value))
]

REFUSED = [*("400", "401", "403", "404", "412", "413", "415", "422", "429", "501")]
CHECKS = {
    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "501"]},
    "negative_data_rejection": {"expected-statuses": REFUSED},
    "positive_data_acceptance": {
        "expected-statuses": ["2xx", "3xx", "403", "404", "412", "416", "422"]
    },
    # Some answers have no body, and so no type: the tests have a check of their own for that.
    "content_type_conformance": {"enabled": False},
    # A method that a resource does not have is 403 here (RestTL): that has a test of its own.
    "unsupported_method": {"enabled": False},
}


def described() -> dict[str, Any]:
    """Return the description."""
    said = json.dumps(openapi.description(Settings(limits=Limits(**LIMITS))))
    made: dict[str, Any] = json.loads(said)
    return made


def narrowed() -> dict[str, Any]:
    """Return the description, made narrower where a schema cannot say what is meant."""
    raw = described()
    for item in raw["paths"].values():
        for method in ("post", "put"):
            if method in item:
                # Documents in XML and CBOR, and compressed ones, have tests of their own.
                content = item[method]["requestBody"]["content"]
                item[method]["requestBody"]["content"] = {JSON: content[JSON]}
                item[method]["parameters"] = without("Content-Encoding", item[method]["parameters"])
    # A batch has no version that could be waited for, so it does not look at that header.
    pipe = raw["paths"]["/restms/resource/p{secret}"]
    for method in ("get", "head"):
        pipe[method]["parameters"] = without("When-Modified-After", pipe[method]["parameters"])
    raw["components"]["parameters"]["When-Modified-After"]["schema"] = {"enum": DATES}
    return raw


LINKS = {
    ("/restms/domain/{domain}", "201", "p"): (
        *("describe_pipe", "change_pipe", "remove_pipe", "join_pipe", "look_at_pipe"),
    ),
    ("/restms/domain/{domain}", "201", "f"): (
        *("describe_private_feed", "change_private_feed", "post_private_feed"),
        "remove_private_feed",
    ),
    ("/restms/resource/p{secret}", "201", "j"): ("describe_join", "remove_join"),
}
"""What can be done with what was made; the URI is in Location, of which OpenAPI takes no part."""


def linked() -> dict[str, Any]:
    """Return the description with the ways from what makes a resource to what uses it."""
    raw = narrowed()
    raw["components"]["parameters"]["domain"]["schema"] = {"const": "default"}
    made = [{"restms": {"pipe": {}}}, {"restms": {"feed": {}}}]
    raw["components"]["schemas"]["FeedOrPipePost"] = {"enum": made}
    raw["components"]["schemas"]["FeedUri"] = {"enum": ["/restms/feed/tested"]}
    for (path, status, letter), operations in LINKS.items():
        secret = f"$response.header.Location#regex:/{letter}([0-9a-f]+)$"
        links = raw["paths"][path]["post"]["responses"][status].setdefault("links", {})
        for name in operations:
            links[name] = {"operationId": name, "parameters": {"path.secret": secret}}
    return raw


def loaded(raw: dict[str, Any]) -> "schemathesis.BaseSchema":
    """Load a description, as schemathesis is to check it."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"deterministic": True, "max-examples": EXAMPLES},
            "checks": CHECKS,
            "phases": {"stateful": {"inference": {"algorithms": []}}},
        }
    )
    return schemathesis.openapi.from_dict(raw, config=config)


def without(name: str, parameters: list[dict[str, str]]) -> list[dict[str, str]]:
    return [one for one in parameters if not one["$ref"].endswith(f"/{name}")]
