"""The documents of the protocol as JSON Schemas (draft 2020-12), for the description in OpenAPI.

They tell of the form in JSON; XML and CBOR are the same tree. What clients
send may be more than what they get: numbers are taken as text, and unknown
names are passed over.
"""

from typing import Any, TypeAlias

from restms_cluster.model import PROPERTIES, Limits
from restms_cluster.terms import LONGEST_MILLISECONDS, LONGEST_WINDOW
from restms_node.config import Settings
from restms_node.trees import ROOT, Tree

Json: TypeAlias = dict[str, Any]

NAME = "[A-Za-z0-9_][A-Za-z0-9._~-]*"
DOMAIN = "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
SECRET = "[0-9a-f]{32}"  # noqa: S105, the form of one
_TYPE = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_CARRIED = (
    "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\ufffe\\uffff]*$"  # all that XML carries
)
_SERVER = "(https?://[A-Za-z0-9.:-]+)?"

FEED_TYPES = ("", "fanout", "direct", "topic", "headers", "rotator", "service")
PIPE_TYPES = ("", "fifo", "stream", "ondemand")

FEED: Tree = {"feed": [{"name": "news", "type": "topic", "title": "What is new"}]}
PIPE: Tree = {"pipe": [{"title": "What I read"}]}
JOIN: Tree = {"join": [{"address": "weather.*", "feed": "/restms/feed/news"}]}
MESSAGE: Tree = {
    "message": [
        {
            "address": "weather.oslo",
            "header": [{"name": "station", "value": "18700"}],
            "content": [{"type": "text/plain", "encoding": "plain", "value": "Snow"}],
        }
    ]
}
"""What examples post; one after the other, they work on any server."""


def ref(kind: str, name: str) -> Json:
    """Return a reference to a component of the description."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schemas(settings: Settings) -> Json:
    """Return the schemas by name; lengths and types are those of a server with these settings."""
    limits = settings.limits
    return {
        **_attributes(limits),
        **_sent(limits, known=not settings.extra_profiles),
        "FeedOrPipePost": _posted(feed="NewFeed", pipe="NewPipe"),
        "FeedPut": _posted(feed="NewFeed"),
        "PipePut": _posted(pipe="NewPipe"),
        "JoinPost": _posted(join="NewJoin"),
        "MessagesPost": _root({"message": _children("NewMessage", 1, limits.messages_per_request)}),
        **_shown(),
    }


def _attributes(limits: Limits) -> Json:
    text = {"type": ["string", "number", "boolean", "null"], "pattern": _CARRIED}
    public, private = f"feed/({DOMAIN}/)?{NAME}", f"resource/({DOMAIN}[.])?f{SECRET}"
    return {
        "Text": {
            "description": "Text. Numbers and booleans are taken as text, null as nothing.",
            "maxLength": limits.text_length,
            **text,
        },
        "Address": {
            "description": "What messages and joins are matched by.",
            "maxLength": limits.address_length,
            **text,
        },
        "FeedName": {
            "description": "A public feed's name. A feed without one is private.",
            "anyOf": [
                {"type": "string", "maxLength": limits.name_length, "pattern": f"^({NAME})?$"},
                {"type": "number", "minimum": 0, "exclusiveMaximum": 10**16},
                *_numbers(),
            ],
        },
        "FeedUri": {
            "description": "The URI of a feed, absolute or relative.",
            "type": "string",
            "maxLength": limits.text_length,
            "pattern": f"^{_SERVER}/restms/({public}|{private})$",
        },
        "Milliseconds": {
            "anyOf": [
                {"type": "string", "pattern": "^([0-9]{1,11})?$"},
                *_numbers(LONGEST_MILLISECONDS),
            ]
        },
    }


def _sent(limits: Limits, *, known: bool) -> Json:
    text, address = ref("schemas", "Text"), ref("schemas", "Address")
    milliseconds, feed_uri = ref("schemas", "Milliseconds"), ref("schemas", "FeedUri")
    headers, contents = limits.headers_per_message, limits.contents_per_message
    return {
        "NewFeed": _new(
            name=ref("schemas", "FeedName"),
            type={"enum": [*FEED_TYPES, None]} if known else text,
            title=text,
            license=text,
            dead_letter={"anyOf": [feed_uri, {"enum": ["", None]}]},
            dedup={
                "description": "Seconds for which a message_id is routed once.",
                "anyOf": [
                    {"type": "string", "pattern": "^([0-9]{1,6}([.][0-9]{1,3})?)?$"},
                    *_numbers(LONGEST_WINDOW),
                ],
            },
        ),
        "NewPipe": _new(type={"enum": [*PIPE_TYPES, None]} if known else text, title=text),
        "NewJoin": _new(
            "feed",
            type={"enum": ["", None]} if known else text,
            address=address,
            feed=feed_uri,
            header=_children("JoinHeader", 0, headers),
        ),
        "JoinHeader": _new(
            "name",
            name={"allOf": [text, {"type": ["string", "number", "boolean"], "minLength": 1}]},
            value=text,
        ),
        "NewMessage": _new(
            **dict.fromkeys(PROPERTIES, text)
            | {
                "address": address,
                "priority": {"anyOf": [{"type": "string", "pattern": "^[0-9]?$"}, *_numbers(9)]},
                "expiration": milliseconds,
                "delay": milliseconds,
                "deliver_at": {"type": "string", "format": "date-time"},
                "header": _children("MessageHeader", 0, headers),
                "content": _children("NewContent", 0, contents),
            },
        )
        | {"not": {"required": ["delay", "deliver_at"]}},
        "MessageHeader": _new(name=text, value=text),
        "NewContent": {
            "description": "A content: staged before (href), or embedded.",
            "anyOf": [
                _new("href", href=ref("schemas", "ContentUri")),
                _embedded({"enum": ["plain", None]}, {"type": ["string", "number", "boolean"]}),
                _embedded({"const": "base64"}, {"type": "string", "pattern": _BASE64}, "encoding"),
            ],
        },
        "ContentUri": {
            "description": "The URI of a staged content, absolute or relative.",
            "type": "string",
            "maxLength": limits.text_length,
            "pattern": f"^{_SERVER}/restms/resource/({DOMAIN}[.])?c{SECRET}$",
        },
    }


def _shown() -> Json:
    text = {"type": "string"}
    uri = {"type": "string", "format": "uri"}
    number = {"type": "string", "pattern": "^[0-9]+$"}
    feed = _element(
        "name type href",
        name=text,
        type=text,
        title=text,
        license=text,
        dead_letter=uri,
        dedup=text,
        href=uri,
    )
    listed = _element("href", href=uri, address=text, message_id=text, **{"async": {"const": "1"}})
    join = _element("href type address feed", href=uri, type=text, address=text, feed=uri)
    header = _element("name value", name=text, value=text)
    content = {
        "oneOf": [
            _element("type href length", type=text, href=uri, length=number),
            _element(
                "type encoding value",
                type=text,
                encoding={"enum": ["plain", "base64"]},
                value=text,
            ),
        ]
    }
    message = _element(
        "address",
        href=uri,
        redelivered={"const": "1"},
        header=_list(header),
        content=_list(content),
        **dict.fromkeys(PROPERTIES, text),
    )
    profile = _element("name href", name=text, title=text, href=uri)
    return {
        "Domain": _shows(
            domain=_element("name", name=text, title=text, profile=_list(profile), feed=_list(feed))
        ),
        "Feed": _shows(feed=feed),
        "FeedOrPipe": {"anyOf": [ref("schemas", "Feed"), ref("schemas", "Pipe")]},
        "Pipe": _shows(
            pipe=_element(
                "name type href",
                name=text,
                type=text,
                title=text,
                href=uri,
                join=_list(join),
                message=_list(listed),
            )
        ),
        "Join": _shows(
            join=_element(
                "href type address feed",
                href=uri,
                type=text,
                address=text,
                feed=uri,
                header=_list(header),
            )
        ),
        "Messages": _root({"message": _list(message)}, closed=True),
        "Routed": _root(
            {"message": _list(_element("count", count=number, full=number))}, closed=True
        ),
    }


def _numbers(most: int | None = None) -> list[Json]:
    """Return what else is taken where a text of digits is meant."""
    number: Json = {"type": "integer", "minimum": 0}
    return [number if most is None else {**number, "maximum": most}, {"type": ["boolean", "null"]}]


def _new(*required: str, **properties: Json) -> Json:
    """Return an element that clients send: it may have more than what is known."""
    return {"type": "object", "required": [*required], "properties": properties}


def _root(children: Json, *, closed: bool = False) -> Json:
    inner: Json = {"type": "object", "required": [*children], "properties": children}
    outer: Json = {"type": "object", "required": [ROOT], "properties": {ROOT: inner}}
    if closed:
        inner["additionalProperties"] = outer["additionalProperties"] = False
    return outer


def _children(name: str, least: int, most: int) -> Json:
    """Return a list of elements; in place of it a single one will do, and null for none."""
    element = ref("schemas", name)
    many = {"type": "array", "items": element, "minItems": least, "maxItems": most}
    nothing = [] if least else [{"type": "null"}]
    return {"anyOf": [many, element, *nothing]}


def _posted(**children: str) -> Json:
    """Return a document with exactly one of these children."""
    ways = []
    for child, name in children.items():
        way = _root({child: _children(name, 1, 1)})
        none = {"type": ["array", "null"], "maxItems": 0}
        others: Json = {other: none for other in children if other != child}
        way["properties"][ROOT]["properties"].update(others)
        ways.append(way)
    return ways[0] if len(ways) == 1 else {"oneOf": ways}


def _embedded(encoding: Json, value: Json, *required: str) -> Json:
    kind = {"type": ["string", "null"], "maxLength": 255, "pattern": f"^({_TYPE})?$"}
    nothing = {"enum": ["", None]}
    return _new(*required, href=nothing, type=kind, encoding=encoding, value=value)


def _element(required: str, **properties: Json) -> Json:
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(element: Json) -> Json:
    return {"type": "array", "items": element, "minItems": 1}


def _shows(**children: Json) -> Json:
    return _root(
        {name: {**_list(element), "maxItems": 1} for name, element in children.items()}, closed=True
    )
