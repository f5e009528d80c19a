"""What operations of the description in OpenAPI share: parameters, headers and answers."""

from collections.abc import Iterable, Mapping

from restms_cluster.errors import (
    BadRequestError,
    DrainingError,
    ForbiddenError,
    FullError,
    KeyReusedError,
    MisdirectedError,
    NotFoundError,
    NotOwnerError,
    PreconditionFailedError,
    RestMSError,
    StateUnavailableError,
    TooLargeError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedCodingError,
    UnsupportedTypeError,
)
from restms_node.openapi_schemas import DOMAIN, NAME, SECRET, Json, ref
from restms_node.representations import REPRESENTATIONS
from restms_node.trees import ROOT, Tree

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_DATE = {
    "type": "string",
    "pattern": "^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT$",
}

EVERYWHERE = ("X-Content-Type-Options", "Referrer-Policy")
SOMETIMES = ("X-Request-Id", "RateLimit", "RateLimit-Policy", "Vary")
"""Headers of every answer; those that depend on the configuration come second."""

_ALWAYS = "always-"

ANY = ("400", "401", "403", "404", "429", "503")
"""How any request may be refused."""

VALIDATORS = ("ETag", "Last-Modified", "Date-Modified")

HEADERS: Mapping[str, tuple[str, Json]] = {
    "Accept-Encoding": ("The codings that the server reads.", _TEXT),
    "Accept-Ranges": ("Ranges of it may be asked for.", {"const": "bytes"}),
    "Allow": ("The methods that the resource has.", _TEXT),
    "Cache-Control": ("Whether it may be stored.", {"enum": ["no-store", "no-cache"]}),
    "Content-Encoding": ("The document's coding.", {"enum": ["gzip", "zstd"]}),
    "Content-Range": (
        "Which part it is, and of how much.",
        {"type": "string", "pattern": "^bytes "},
    ),
    "Content-Security-Policy": ("Keeps it from running as a page of the server.", _TEXT),
    "Date-Modified": ("The same as Last-Modified (RestTL).", _DATE),
    "ETag": (
        "The version, in this media type and coding.",
        {"type": "string", "pattern": '^"[0-9a-f]+-[a-z]+([.][a-z]+)?"$'},
    ),
    "Last-Modified": ("When the resource changed last.", _DATE),
    "Location": ("The URI of the resource.", {"type": "string", "format": "uri"}),
    "Preference-Applied": (
        "The preference that was followed; how long, in seconds, the wait was at most.",
        {"type": "string", "pattern": "^(wait=[0-9]+|return=minimal)$"},
    ),
    "RateLimit": ("What is left to this client for now.", _TEXT),
    "RateLimit-Policy": ("How much a client may ask for.", _TEXT),
    "Referrer-Policy": ("Keeps URIs from other sites.", {"const": "no-referrer"}),
    "RestMS-Full": ("How many pipes were full and passed over.", _COUNT),
    "RestMS-Routed": ("How many messages of the stream are in.", _COUNT),
    "Retry-After": ("After how many seconds a repeat makes sense.", _COUNT),
    "Vary": ("What else the answer depends on.", _TEXT),
    "WWW-Authenticate": ("The credentials that would do.", _TEXT),
    "X-Accel-Buffering": ("Keeps proxies from holding a stream back.", {"const": "no"}),
    "X-Content-Type-Options": ("The type is what it says.", {"const": "nosniff"}),
    "X-Request-Id": ("The request, as logs name it.", _TEXT),
}

PARAMETERS: Mapping[str, Json] = {
    "domain": {
        "in": "path",
        "schema": {"type": "string", "pattern": f"^{DOMAIN}$"},
        "example": "default",
    },
    "feed": {
        "in": "path",
        "schema": {"type": "string", "pattern": f"^{NAME}$"},
        "example": "default",
    },
    "specification": {"in": "path", "schema": _TEXT, "example": "3"},
    "profile": {"in": "path", "schema": _TEXT, "example": "Defaults"},
    "secret": {"in": "path", "schema": {"type": "string", "pattern": f"^{SECRET}$"}},
    "number": {
        "in": "path",
        "description": "Counts the messages of a pipe from 1 on.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10**16 - 1},
    },
    "part": {
        "in": "path",
        "description": "Counts the contents of a message from 1 on.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999},
    },
    "messages": {
        "in": "query",
        "description": "Answer with so many whole messages, waiting for the first.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "If-Match": {"description": "Change or remove only one of these versions (ETags)."},
    "If-Unmodified-Since": {"description": "Change or remove only what is no younger."},
    "If-None-Match": {"description": "Answer 304 if it is one of these versions (ETags)."},
    "If-Modified-Since": {"description": "Answer 304 if it is no younger than this date."},
    "When-None-Match": {"description": "Wait until the version is none of these (ETags)."},
    "When-Modified-After": {"description": "Wait for a change after this date.", "schema": _DATE},
    "Prefer": {
        "description": "`wait=N`: how many seconds to wait at most. `return=minimal`: no document.",
        "example": "wait=30",
    },
    "Idempotency-Key": {
        "description": "Names the request: a repeat under the same key is done once.",
        "schema": {"type": "string", "maxLength": 255},
    },
    "Range": {"description": "The bytes that are wanted.", "example": "bytes=0-1023"},
    "If-Range": {"description": "Answer with the range only of this version."},
    "Last-Event-ID": {"description": "Begin a stream after this message: its URI."},
    "Accept-Encoding": {"description": "Codings for documents: gzip, zstd.", "example": "gzip"},
    "Content-Encoding": {
        "description": "The body's coding.",
        "schema": {"enum": ["gzip", "zstd", "identity"]},
    },
    "X-Request-Id": {"description": "A name for the request, for logs.", "example": "a1b2c3"},
}
"""By name. What does not say where it stands is a header."""

ERRORS: Mapping[str, tuple[str, tuple[type[RestMSError], ...]]] = {
    "400": ("The document, a name, a header or the host is malformed.", (BadRequestError,)),
    "401": ("Credentials are missing or wrong.", (UnauthorizedError,)),
    "403": (
        "The resource, or the server's rules, do not allow it.",
        (ForbiddenError, NotOwnerError),
    ),
    "404": ("There is no such resource, or there is none any more.", (NotFoundError,)),
    "412": ("The client's copy is old.", (PreconditionFailedError,)),
    "413": ("Something is over its limit.", (TooLargeError,)),
    "415": ("A Content-Encoding that is not read here.", (UnsupportedCodingError,)),
    "416": ("The range has no byte of the content.", ()),
    "421": ("The host that was asked for is not this server's.", (MisdirectedError,)),
    "422": ("The Idempotency-Key was used for another request.", (KeyReusedError,)),
    "429": ("The client asks more often than it may.", (TooManyRequestsError,)),
    "501": ("A media type that is not read or written here.", (UnsupportedTypeError,)),
    "503": (
        "Overloaded, full, draining, or without Redis.",
        (UnavailableError, FullError, DrainingError, StateUnavailableError),
    ),
}
_WITH = {
    "401": ("WWW-Authenticate",),
    "415": ("Accept-Encoding",),
    "416": ("Accept-Ranges", "Content-Range"),
    "429": ("Retry-After",),
}
_PERHAPS_WITH = {"403": ("Allow",), "503": ("Retry-After", "RestMS-Routed")}


def components() -> Json:
    """Return the parameters, the headers and the refusals, by name.

    A header stands there twice: for answers that perhaps have it, and that always have it.
    """
    headers = {
        name: {"description": meaning, "schema": schema}
        for name, (meaning, schema) in HEADERS.items()
    }
    always = {f"{_ALWAYS}{name}": {**said, "required": True} for name, said in headers.items()}
    return {
        "parameters": {name: _parameter(name, said) for name, said in PARAMETERS.items()},
        "headers": headers | always,
        "responses": {status: _error(status) for status in ERRORS},
    }


def refusals(*statuses: str) -> Json:
    """Return the answers that refuse a request in these ways."""
    return {status: ref("responses", status) for status in statuses}


def answer(
    description: str, content: Json | None = None, *always: str, perhaps: Iterable[str] = ()
) -> Json:
    """Return an answer with the headers that it has always, and perhaps."""
    sure = (*always, *EVERYWHERE)
    headers = {name: ref("headers", name) for name in (*perhaps, *SOMETIMES)}
    headers |= {name: ref("headers", f"{_ALWAYS}{name}") for name in sure}
    made: Json = {"description": description, "headers": headers}
    return made if content is None else {**made, "content": content}


def bodiless(said: Json) -> Json:
    """Return an answer as it is to HEAD."""
    return {name: value for name, value in said.items() if name != "content"}


def documents(schema: str, example: Tree | None = None) -> Json:
    """Return a document in each of its media types."""
    content: Json = {}
    for representation in REPRESENTATIONS:
        kind: Json = {}
        if representation.media_type.endswith("json"):
            kind["schema"] = ref("schemas", schema)
            if example is not None:
                kind["example"] = {ROOT: example}
        elif representation.media_type.endswith("xml") and example is not None:
            kind["example"] = representation.write(example).decode()
        content[representation.media_type] = kind
    return content


def _parameter(name: str, said: Json) -> Json:
    made = {"name": name, "in": "header", "schema": _TEXT, **said}
    return {**made, "required": True} if made["in"] == "path" else made


def _error(status: str) -> Json:
    description, kinds = ERRORS[status]
    words = sorted({kind.word for kind in kinds}) or ["bad_range"]
    content = {"text/plain": {"schema": {"type": "string", "pattern": "^[^\n]+\n$"}}}
    made = answer(
        description,
        content,
        "Cache-Control",
        *_WITH.get(status, ()),
        perhaps=_PERHAPS_WITH.get(status, ()),
    )
    made["headers"]["RestMS-Error"] = {
        "description": "A stable word for programs.",
        "required": True,
        "schema": {"enum": words},
    }
    return made
