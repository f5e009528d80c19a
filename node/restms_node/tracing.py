"""Tracing: a span for each publish, delivery and acknowledgement (OpenTelemetry).

Names and attributes are those of the semantic conventions for messaging. The span of a
publish is a child of what the publisher's request tells (`traceparent`), and is itself what
its messages carry; the span of a delivery is a child of what the reader's request tells, and
links to what the messages carry. A private resource has no name here: its URI is a capability.

Only where tracing is on is this module imported, for its packages need not be there.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.util.types import AttributeValue

from restms_cluster.errors import DrainingError, RestMSError
from restms_cluster.inbox import Delivered
from restms_cluster.model import Draft, Header, Message, Packed, Sealed
from restms_cluster.names import DEFAULT, FeedName, Token
from restms_node import request_names, trace_contexts
from restms_node.access_log import now
from restms_node.exchange import Request
from restms_node.front import shortened
from restms_node.version import VERSION

SYSTEM = "restms"
SCHEMA = "https://opentelemetry.io/schemas/1.39.0"
LONGEST = 256  # characters of what clients sent

BATCH_COUNT = "messaging.batch.message_count"
DESTINATION_ANONYMOUS = "messaging.destination.anonymous"
DESTINATION_NAME = "messaging.destination.name"
DESTINATION_TEMPORARY = "messaging.destination.temporary"
MESSAGE_ID = "messaging.message.id"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DOMAIN = "messaging.restms.domain"
WAITED = "messaging.restms.wait.duration"  # seconds

Attributes = dict[str, AttributeValue]


class Tracing:
    """Makes the spans of one node, by a provider that knows where they go."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("restms", VERSION, SCHEMA)

    def publishing(self, request: Request, feed: FeedName) -> "Publishing":
        """Return what is to be entered while messages are published to a feed."""
        return Publishing(self, request, feed)

    def delivering(self, request: Request, pipe: Token) -> "Delivering":
        """Return what is to be entered while messages of a pipe are read and sent."""
        return Delivering(self, request, pipe)

    def acknowledging(self, request: Request, message: Token) -> "Traced":
        """Return what is to be entered while a message is acknowledged."""
        return Acknowledging(self, request, message)

    def span(
        self,
        request: Request,
        operation: tuple[str, str],
        kind: SpanKind,
        target: FeedName | Token,
        links: Sequence[Link] = (),
        more: Mapping[str, AttributeValue] | None = None,
    ) -> Span:
        """Begin a span; `operation` is its name and its type."""
        name, attributes = _destination(target)
        attributes |= {
            "messaging.system": SYSTEM,
            OPERATION_NAME: operation[0],
            OPERATION_TYPE: operation[1],
            "http.request.method": request.method[:LONGEST],
            **(more or {}),
        }
        span = self._tracer.start_span(
            f"{operation[0]} {name}" if name else operation[0],
            trace_contexts.of_headers(request.headers),
            kind,
            attributes,
            links,
            record_exception=False,  # its text may tell what is not for everybody
            set_status_on_exception=False,
        )
        context = span.get_span_context()
        if context.is_valid:
            request_names.traced(format_trace_id(context.trace_id))
        return span


class Traced:
    """A span for the time of a block. What ends the block in vain is told by its stable word."""

    def __init__(self, tracing: Tracing, request: Request) -> None:
        self._tracing = tracing
        self._request = request
        self._span: Span | None = None

    def begin(self) -> None:
        """Begin the span."""

    def failed(self, error: Exception) -> None:
        """Tell the span of an error; where there was none yet, one begins."""
        self.begin()
        if self._span is None:
            return
        if isinstance(error, RestMSError):
            word, status = error.word, error.status
        else:
            word, status = type(error).__name__, 500
        self._span.set_attributes({"error.type": word, "http.response.status_code": status})
        self._span.set_status(Status(StatusCode.ERROR))

    def __enter__(self) -> Self:
        """Begin."""
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End the span, if there is one."""
        if isinstance(error, Exception):  # who goes, or is cancelled, has not failed
            self.failed(error)
        if self._span is not None:
            self._span.end()


class Publishing(Traced):
    """The span of a publish, which is what the messages carry."""

    def __init__(self, tracing: Tracing, request: Request, feed: FeedName) -> None:
        super().__init__(tracing, request)
        self._feed = feed

    def begin(self) -> None:
        """Begin the span."""
        if self._span is None:
            operation = ("publish", "send")
            self._span = self._tracing.span(self._request, operation, SpanKind.PRODUCER, self._feed)

    def carried(self, drafts: Sequence[Draft | Sealed]) -> tuple[Header, ...]:
        """Return the headers that those messages are to carry which have none of their own."""
        span = self._span
        if span is None:
            return ()
        if span.is_recording():
            for link in trace_contexts.links(trace_contexts.of_drafts(drafts)):
                span.add_link(link.context)
            if len(drafts) != 1:
                span.set_attribute(BATCH_COUNT, len(drafts))
            elif message_id := _message_id(drafts[0]):
                span.set_attribute(MESSAGE_ID, message_id)
        return trace_contexts.of_span(span)


class Delivering(Traced):
    """The span of a delivery. It begins when there is something to deliver.

    A wait is no part of it, but an attribute: else the spans of those who wait would
    last as long as nothing comes, and hide how long anything takes.
    """

    def __init__(self, tracing: Tracing, request: Request, pipe: Token) -> None:
        super().__init__(tracing, request)
        self._pipe = pipe
        self._since = now()

    def __enter__(self) -> Self:
        """Begin to wait."""
        return self

    def begin(self, links: Sequence[Link] = (), more: Attributes | None = None) -> None:
        """Begin the span."""
        if self._span is None:
            waited = {WAITED: round(now() - self._since, 6)}
            self._span = self._tracing.span(
                self._request,
                ("deliver", "receive"),
                SpanKind.CONSUMER,
                self._pipe,
                links,
                {**waited, **(more or {})},
            )

    def failed(self, error: Exception) -> None:
        """Tell of an error; a node that goes down has not failed, the reader asks again."""
        if not isinstance(error, DrainingError):
            super().failed(error)

    def one(self, message: Message | Packed) -> None:
        """Begin, for there is a message."""
        if isinstance(message, Packed):
            contexts = trace_contexts.of_stored(message.blob)
        else:
            contexts = trace_contexts.of_message(message)
        message_id = _message_id(message)
        self.begin(trace_contexts.links(contexts), {MESSAGE_ID: message_id} if message_id else {})

    def several(self, found: Sequence[Delivered]) -> None:
        """Begin, for there are messages."""
        contexts = trace_contexts.of_delivered(found)
        self.begin(trace_contexts.links(contexts), {BATCH_COUNT: len(found)})


class Acknowledging(Traced):
    """The span of an acknowledgement."""

    def __init__(self, tracing: Tracing, request: Request, message: Token) -> None:
        super().__init__(tracing, request)
        self._message = message

    def begin(self) -> None:
        """Begin the span."""
        if self._span is None:
            operation = ("acknowledge", "settle")
            self._span = self._tracing.span(
                self._request, operation, SpanKind.SERVER, self._message
            )


def _destination(target: FeedName | Token) -> tuple[str, Attributes]:
    """Return the name of a public feed, and what tells of it or of a private resource."""
    attributes: Attributes = {DOMAIN: target.domain}
    if isinstance(target, Token):
        return "", attributes | {DESTINATION_ANONYMOUS: True, DESTINATION_TEMPORARY: True}
    if target.token is not None:
        return "", attributes | {DESTINATION_ANONYMOUS: True}
    name = target.key if target.domain == DEFAULT else f"{target.domain}/{target.key}"
    return name, attributes | {DESTINATION_NAME: name}


def _message_id(message: Draft | Sealed | Message | Packed) -> str:
    """Return a message's name, as its publisher gave it, but for what may be a private URI."""
    if isinstance(message, Sealed):
        given = message.message_id
    elif isinstance(message, Packed):
        given = trace_contexts.message_id(message.blob)
    else:
        given = message.properties.get("message_id", "")
    return shortened(given)[:LONGEST]
