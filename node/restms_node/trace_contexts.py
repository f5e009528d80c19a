"""Trace contexts (W3C Trace Context): in the headers of requests, and carried in messages.

A message carries one as its headers `traceparent` and `tracestate`, the last of its stored
form where a node has added them. What is no context is as if it were not there: a client's
mistake must not keep its message from being routed. Baggage is not carried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import cbor2
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from restms_cluster.inbox import Delivered
from restms_cluster.model import Draft, Header, Message, Sealed

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
LONGEST_STATE = 512  # what a tracestate has at least room for (W3C Trace Context 3.3.1.5)

_LENGTH = 55  # of a traceparent of version 00
_LONGEST_PARENT = 128  # those of versions to come may say more
# How a stored form ends that has been added to.
_END = re.compile(
    re.escape(cbor2.dumps({"name": TRACEPARENT, "value": "-" * _LENGTH})[:-_LENGTH])
    + rb"([0-9a-f-]{%d})\Z" % _LENGTH
)
_PROPAGATOR = TraceContextTextMapPropagator()


def of_headers(headers: Mapping[str, str]) -> Context:
    """Return the context that headers tell, their names in lower case; an empty one without."""
    parent = headers.get(TRACEPARENT)
    if parent is None or len(parent) > _LONGEST_PARENT:
        return Context()
    carrier = {TRACEPARENT: parent}
    state = headers.get(TRACESTATE)
    if state is not None and len(state) <= LONGEST_STATE:
        carrier[TRACESTATE] = state
    return _PROPAGATOR.extract(carrier)


def of_span(span: Span) -> tuple[Header, ...]:
    """Return the headers by which a message carries the context of a span, the parent last."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span))
    return tuple(
        Header(name, carrier[name]) for name in (TRACESTATE, TRACEPARENT) if name in carrier
    )


def of_drafts(drafts: Iterable[Draft | Sealed]) -> Iterator[SpanContext]:
    """Yield the contexts that publishers have put into their messages."""
    for draft in drafts:
        if isinstance(draft, Draft) and draft.headers:
            yield from _told({header.name.lower(): header.value for header in draft.headers})


def of_delivered(found: Iterable[Delivered]) -> Iterator[SpanContext]:
    """Yield the contexts that messages carry."""
    for _, message in found:
        if isinstance(message, Message):
            yield from of_message(message)
        else:
            yield from of_stored(message)


def of_message(message: Message) -> Iterator[SpanContext]:
    """Yield the context that a message carries."""
    if message.headers:
        yield from _told({header.name.lower(): header.value for header in message.headers})


def of_stored(blob: bytes) -> Iterator[SpanContext]:
    """Yield the context that a message in its stored form carries."""
    if TRACESTATE.encode() not in blob:
        end = _END.search(blob, max(0, len(blob) - 2 * _LENGTH))
        if end is not None:  # nearly always, and without decoding it
            yield from _told({TRACEPARENT: end[1].decode()})
            return
    if TRACEPARENT.encode() in blob.lower():
        element: dict[str, Any] = cbor2.loads(blob)
        headers = element.get("header", ())
        yield from _told({header["name"].lower(): header["value"] for header in headers})


def message_id(blob: bytes) -> str:
    """Return the name of a message in its stored form; empty without one."""
    element: dict[str, Any] = cbor2.loads(blob)
    given: str = element.get("message_id", "")
    return given


def links(contexts: Iterable[SpanContext]) -> Sequence[Link]:
    """Return a link to each context, once: the messages of one request have the same."""
    return [Link(context) for context in {(c.trace_id, c.span_id): c for c in contexts}.values()]


def _told(headers: Mapping[str, str]) -> Iterator[SpanContext]:
    context = get_current_span(of_headers(headers)).get_span_context()
    if context.is_valid:
        yield context
