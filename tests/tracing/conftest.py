"""Two nodes in this process whose spans stay in memory, and a client of theirs."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from restms_node.tracing import Tracing
from tests.access.nodes import Nodes
from tests.conformance.client import Client
from tests.waiting import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def all(self, operation: str = "") -> Sequence[ReadableSpan]:
        """Those of an operation, in the order in which they ended."""
        return [one for one in self._exporter.get_finished_spans() if said(one, operation)]

    def one(self, operation: str) -> ReadableSpan:
        """The only one of an operation, once it has ended."""
        wait_until(lambda: self.all(operation))
        [span] = self.all(operation)
        return span

    def clear(self) -> None:
        """Forget them."""
        self._exporter.clear()


def said(span: ReadableSpan, operation: str) -> bool:
    return not operation or attributes(span)["messaging.operation.name"] == operation


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """What a span tells."""
    return dict(span.attributes or {})


def traceparent(span: ReadableSpan) -> str:
    """How a message carries the context of a span."""
    context = span.get_span_context()
    assert context is not None
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    return f"00-{ids}-{context.trace_flags:02x}"


def linked(span: ReadableSpan) -> list[str]:
    """What a span links to, as messages carry it."""
    return [
        f"00-{format_trace_id(one.context.trace_id)}-{format_span_id(one.context.span_id)}"
        f"-{one.context.trace_flags:02x}"
        for one in span.links
    ]


def parent(span: ReadableSpan) -> str:
    """The parent of a span; empty where it is a root."""
    return "" if span.parent is None else format_span_id(span.parent.span_id)


def headers(message: dict[str, Any]) -> dict[str, str]:
    """The headers of a message."""
    return {header["name"]: header["value"] for header in message.get("header", ())}


@pytest.fixture(scope="session")
def all_spans() -> Spans:
    return Spans()


@pytest.fixture(scope="session")
def nodes(all_spans: Spans) -> Iterator[Nodes]:
    """One has the lane, one has not."""
    with Nodes(None, Tracing(all_spans.provider), heartbeat_seconds=0.1) as nodes:
        yield nodes


@pytest.fixture
def spans(all_spans: Spans) -> Spans:
    """The spans of one test."""
    all_spans.clear()
    return all_spans


@pytest.fixture
def client(nodes: Nodes, spans: Spans) -> Iterator[Client]:
    with Client(nodes.urls) as client:
        yield client


@pytest.fixture
def feed(client: Client) -> str:
    """A public feed."""
    return client.create_feed("traced")


@pytest.fixture
def pipe(client: Client, feed: str) -> str:
    """A pipe that is joined to it at `a`."""
    return client.create_joined(feed, "a")
