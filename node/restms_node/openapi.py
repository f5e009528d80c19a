"""The description of the whole interface in OpenAPI 3.1, as /openapi.json has it.

Its operations come from the table of routes, so a route without a description
does not start. Private resources of all kinds are under /restms/resource; the
first letter of the hash tells what one is, and so tells their paths apart.
"""

import hashlib
import json
from collections.abc import Mapping
from string import Formatter
from urllib.parse import urlsplit

from restms_node import metrics, routes
from restms_node.conditions import not_modified
from restms_node.config import Settings
from restms_node.descriptions import NO_CACHE
from restms_node.exchange import Answer
from restms_node.openapi_operations import OPERATIONS, PAGES
from restms_node.openapi_parts import ANY, answer, bodiless, components, refusals
from restms_node.openapi_schemas import Json, ref, schemas
from restms_node.version import VERSION

PATH = "/openapi.json"
TYPE = "application/json"

RESOURCES: Mapping[str, tuple[str, routes.Methods]] = {
    "/restms/domain/{domain}": ("domain", routes.DOMAIN),
    "/restms/profile/{specification}/{profile}": ("profile", routes.PROFILE),
    "/restms/feed/{feed}": ("feed", routes.FEED),
    "/restms/feed/{domain}/{feed}": ("feed_of_domain", routes.FEED),
    "/restms/resource/f{secret}": ("private_feed", routes.FEED),
    "/restms/resource/p{secret}": ("pipe", routes.PIPE),
    "/restms/resource/j{secret}": ("join", routes.JOIN),
    "/restms/resource/p{secret}-{number}": ("message", routes.MESSAGE),
    "/restms/resource/p{secret}-{number}-{part}": ("content", routes.CONTENT),
    "/restms/resource/c{secret}": ("staged_content", routes.CONTENT),
}
"""Each kind of resource: its path, its name, and what may be done with it."""

SECURITY: Json = {
    "basic": {"type": "http", "scheme": "basic", "description": "A name and a password."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token (JWT), or an API key."},
    "certificate": {
        "type": "mutualTLS",
        "description": "A client certificate, by a proxy that is trusted to check it.",
    },
}

_ABOUT = """RESTful messaging: durable, routed queues and feeds over plain HTTP.

Documents are in XML (text/xml, also where nothing is asked for, and
application/restms+xml), JSON (application/restms+json) or CBOR
(application/restms+cbor), as Accept and Content-Type say; the schemas are those
of JSON, and the others are the same tree. In a domain other than default the
URI of a private resource has the domain's name and a dot before its hash. URIs
are given by the server: Location, and href in documents. HEAD never waits.
Errors are one sentence, with a stable word in RestMS-Error."""


class Page:
    """Answers /openapi.json: always the same bytes, under an ETag of their own."""

    def __init__(self, settings: Settings) -> None:
        self._body = json.dumps(description(settings), separators=(",", ":")).encode()
        self._tag = f'"{hashlib.sha256(self._body).hexdigest()[:16]}-j"'

    def answer(self, if_none_match: str | None) -> Answer:
        """Answer a GET; 304 to who has it already."""
        headers = (("ETag", self._tag), NO_CACHE)
        if not_modified(0, self._tag, if_none_match, None):
            return Answer(304, headers)
        return Answer(200, (("Content-Type", TYPE), *headers), self._body)


def description(settings: Settings) -> Json:
    """Return the description of a server with these settings."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RestMS",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": urlsplit(settings.base_url).path or "/"}],
        # Which of them, if any, a server wants is for its configuration to say.
        "security": [{}, *({name: []} for name in SECURITY)],
        "paths": {
            **{path: _resource(path, name, table) for path, (name, table) in RESOURCES.items()},
            **{
                path: page
                for path, page in PAGES.items()
                if path != metrics.PATH or not settings.metrics_bind
            },
        },
        "components": {
            **components(),
            "schemas": schemas(settings),
            "securitySchemes": SECURITY,
        },
    }


def _resource(path: str, name: str, table: routes.Methods) -> Json:
    item: Json = {
        "parameters": [
            ref("parameters", field) for _, field, _, _ in Formatter().parse(path) if field
        ]
    }
    for method, handler in table.items():
        operation_id = f"{handler.__name__}_{name}"
        item[method.lower()] = {"operationId": operation_id, "tags": [name], **OPERATIONS[handler]}
    answers = item["get"]["responses"]
    item["head"] = {
        **item["get"],
        "operationId": f"look_at_{name}",
        "summary": "As GET, without the body; it never waits",
        "responses": {status: bodiless(said) for status, said in answers.items()},
    }
    item["options"] = {
        "operationId": f"ask_about_{name}",
        "tags": [name],
        "summary": "Tell which methods the resource has",
        "responses": {"200": answer("The methods.", None, "Allow"), **refusals(*ANY)},
    }
    return item
