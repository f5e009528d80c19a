"""What each handler of the table of routes does, for the description in OpenAPI."""

from collections.abc import Mapping

from restms_node import (
    resources_content,
    resources_domain,
    resources_feed,
    resources_join,
    resources_message,
    resources_pipe,
    resources_profile,
)
from restms_node.framings import FRAMINGS
from restms_node.openapi_parts import ANY, VALIDATORS, answer, bodiless, documents, refusals
from restms_node.openapi_schemas import FEED, JOIN, MESSAGE, PIPE, Json, ref
from restms_node.routes import Handler
from restms_node.sequences import CBOR_SEQ
from restms_node.trees import Tree

_CONDITIONS = ("If-Match", "If-Unmodified-Since")
_READING = ("If-None-Match", "If-Modified-Since", "Accept-Encoding", "X-Request-Id")
_WAITING = ("When-None-Match", "When-Modified-After", "Prefer")
_DESCRIBES = ("Vary", "Cache-Control", *VALIDATORS)

_DONE = answer("It is gone.")
_UNCHANGED = answer(
    "The client has it already.", None, *_DESCRIBES, perhaps=("Preference-Applied",)
)
_WAITED = answer(
    "The wait is over, and nothing has come.", None, "Cache-Control", "Preference-Applied"
)


def _operation(
    summary: str,
    parameters: tuple[str, ...],
    answers: Json,
    *others: str,
    body: Json | None = None,
    required: bool = True,
) -> Json:
    """Return an operation; `others` are further statuses with which it may be refused."""
    return {
        "summary": summary,
        "parameters": [ref("parameters", name) for name in parameters],
        **({} if body is None else {"requestBody": {"content": body, "required": required}}),
        "responses": {**answers, **refusals(*ANY, *others)},
    }


def _described(schema: str, description: str = "The description.") -> Json:
    return answer(
        description,
        documents(schema),
        *_DESCRIBES,
        perhaps=("Content-Encoding", "Preference-Applied"),
    )


def _describe(what: str, schema: str) -> Json:
    answers = {"200": _described(schema), "204": _WAITED, "304": _UNCHANGED}
    return _operation(f"Describe {what}", (*_READING, *_WAITING), answers, "501")


def _change(what: str, schema: str, posted: str, example: Tree) -> Json:
    changed = answer(
        "What it is now.", documents(schema), "Vary", *VALIDATORS, perhaps=("Content-Encoding",)
    )
    return _operation(
        f"Change {what}",
        (*_CONDITIONS, "Content-Encoding", "Accept-Encoding", "X-Request-Id"),
        {"200": changed, "204": answer("There was no document, and nothing was changed.")},
        *("412", "413", "415", "501"),
        body=documents(posted, example),
        required=False,
    )


def _create(summary: str, schema: str, posted: str, example: Tree) -> Json:
    headers = ("Location", "Vary", *VALIDATORS)
    made, known = "It is made.", "It was there already, and is as it stands."
    coded = ("Content-Encoding",)
    return _operation(
        summary,
        ("Content-Encoding", "Accept-Encoding", "X-Request-Id"),
        {
            "200": answer(known, documents(schema), *headers, perhaps=coded),
            "201": answer(made, documents(schema), *headers, perhaps=coded),
        },
        *("413", "415", "501"),
        body=documents(posted, example),
    )


def _remove(summary: str) -> Json:
    return _operation(summary, (*_CONDITIONS, "X-Request-Id"), {"200": _DONE}, "412")


_READ_PIPE: Json = {
    "200": answer(
        "The joins, the messages and the asynclet; or whole messages, in one document "
        "(`messages`), or in a stream that does not end.",
        {
            media_type: {
                **said,
                "schema": {"anyOf": [ref("schemas", "Pipe"), ref("schemas", "Messages")]},
            }
            if "schema" in said
            else said
            for media_type, said in documents("Pipe").items()
        }
        | {media_type: {} for media_type in FRAMINGS},
        *("Vary", "Cache-Control"),
        perhaps=(*VALIDATORS, "Content-Encoding", "Preference-Applied", "X-Accel-Buffering"),
    ),
    "204": _WAITED,
    "304": _UNCHANGED,
}

_POSTED: Json = {
    "200": answer(
        "The messages are in. A default feed tells how many joins each one reached; "
        "others, and `return=minimal`, have no document. A stream tells in RestMS-Routed.",
        documents("Routed"),
        "Cache-Control",
        perhaps=("Vary", "RestMS-Full", "RestMS-Routed", "Preference-Applied", "Content-Encoding"),
    ),
    "201": answer("The content is staged: a message may name its URI.", None, "Location"),
}

_CONTENT = answer(
    "The bytes.",
    {"*/*": {}},
    *("Accept-Ranges", "Cache-Control", "Content-Security-Policy", *VALIDATORS),
)
_PART = answer(
    "The part of it that was asked for.",
    {"*/*": {}},
    *("Accept-Ranges", "Cache-Control", "Content-Security-Policy", "Content-Range", *VALIDATORS),
)

OPERATIONS: Mapping[Handler, Json] = {
    resources_domain.describe: _describe("the domain: its profiles and public feeds", "Domain"),
    resources_domain.create: _create("Make a feed or a pipe", "FeedOrPipe", "FeedOrPipePost", FEED),
    resources_profile.page: _operation(
        "Tell about a profile",
        ("X-Request-Id",),
        {"200": answer("A page in plain text.", {"text/plain": {"schema": {"type": "string"}}})},
    ),
    resources_feed.describe: _describe("the feed", "Feed"),
    resources_feed.post: _operation(
        "Publish messages, or stage a content",
        ("Prefer", "Idempotency-Key", "Content-Encoding", "Accept-Encoding", "X-Request-Id"),
        _POSTED,
        *("413", "415", "422", "501"),
        body={**documents("MessagesPost", MESSAGE), CBOR_SEQ: {}, "*/*": {}},
    ),
    resources_feed.change: _change("the feed", "Feed", "FeedPut", {"feed": [{"title": "News"}]}),
    resources_feed.remove: _remove("Delete the feed and its joins"),
    resources_pipe.describe: _operation(
        "Read the pipe",
        ("messages", "Last-Event-ID", *_READING, *_WAITING),
        _READ_PIPE,
        "501",
    ),
    resources_pipe.join: _create("Join the pipe to a feed", "Join", "JoinPost", JOIN),
    resources_pipe.change: _change("the pipe", "Pipe", "PipePut", PIPE),
    resources_pipe.remove: _remove("Delete the pipe, its joins and its messages"),
    resources_join.describe: _describe("the join", "Join"),
    resources_join.remove: _remove("Delete the join"),
    resources_message.describe: _operation(
        "Read the message; of the one that comes next, wait for it",
        (*_READING, *_WAITING),
        {
            "200": _described("Messages", "The message."),
            "204": _WAITED,
            "304": _UNCHANGED,
        },
        "501",
    ),
    resources_message.acknowledge: _remove("Acknowledge the message, and all older ones"),
    resources_content.fetch: _operation(
        "Read the content's bytes",
        ("Range", "If-Range", "If-None-Match", "If-Modified-Since", "X-Request-Id"),
        {
            "200": _CONTENT,
            "206": _PART,
            "304": answer(
                "The client has it already.", None, "Accept-Ranges", "Cache-Control", *VALIDATORS
            ),
        },
        "416",
    ),
    resources_content.remove: _remove("Delete the content"),
}
"""By handler: an operation as OpenAPI has it, but for its id."""


def _page(name: str, summary: str, answers: Json, *, guarded: bool = False) -> Json:
    """Return a page: one that everybody may read, unless it is guarded as resources are."""
    common = {"tags": ["node"], **({} if guarded else {"security": [{}]})}
    heads = {status: bodiless(said) for status, said in answers.items()}
    allow = {"200": answer("The methods.", None, "Allow")}
    return {
        "get": {"operationId": name, **common, "summary": summary, "responses": answers},
        "head": {
            "operationId": f"look_at_{name}",
            **common,
            "summary": "As GET, without the body",
            "responses": heads,
        },
        "options": {
            "operationId": f"ask_about_{name}",
            **common,
            "summary": "Tell which methods the page has",
            "responses": allow,
        },
    }


_SENTENCE: Json = {"text/plain": {"schema": {"type": "string"}}}

PAGES: Mapping[str, Json] = {
    "/livez": _page(
        "livez",
        "Is the process alive?",
        {"200": answer("It is.", _SENTENCE, "Cache-Control")},
    ),
    "/readyz": _page(
        "readyz",
        "Should it be given requests?",
        {
            "200": answer("It should.", _SENTENCE, "Cache-Control"),
            "503": answer("Not now: it drains, or Redis is away.", _SENTENCE, "Cache-Control"),
        },
    ),
    "/openapi.json": _page(
        "openapi",
        "This description",
        {
            "200": answer("The description.", {"application/json": {}}, "Cache-Control", "ETag"),
            "304": answer("The client has it already.", None, "Cache-Control", "ETag"),
        },
    ),
    "/metrics": _page(
        "metrics",
        "What the node counts, for Prometheus",
        {
            "200": answer(
                "The metrics, in the text format or in OpenMetrics.",
                {**_SENTENCE, "application/openmetrics-text": {"schema": {"type": "string"}}},
                "Cache-Control",
            ),
            **refusals("400", "401", "403", "429", "503"),
        },
        guarded=True,
    ),
}
