"""Where traces go: to a collector by OTLP over HTTP, as the variables OTEL_… of the SDK say.

Only where tracing is on is this module imported, for its packages need not be there.
"""

import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from opentelemetry.exporter.otlp.proto.http import trace_exporter as exporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from restms_cluster.errors import StartError
from restms_node.tracing import SYSTEM, Tracing
from restms_node.version import VERSION

UNNAMED = "unknown_service"  # begins what the SDK calls a service that nobody gave a name

TELL_OF_CLIENTS = ("opentelemetry.trace.propagation.tracecontext", "opentelemetry.trace.span")
"""Loggers that warn of what a client sent, as often as it sends it."""

TELLS_AGAIN_SECONDS = 60.0


class Seldom(logging.Filter):
    """Lets the lines of one sentence through once in a while: a collector may be gone for hours."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written."""
        now, sentence = time.monotonic(), str(record.msg)
        if now - self._told.get(sentence, -math.inf) < TELLS_AGAIN_SECONDS:
            return False
        self._told[sentence] = now
        return True


logging.getLogger(exporter.__name__).addFilter(Seldom())


@asynccontextmanager
async def opened(flush_seconds: float) -> AsyncIterator[Tracing]:
    """Trace for the time of a block; the last spans are sent by its end, within so many seconds.

    A thread of the SDK sends them. Raises StartError where it cannot be set up.
    """
    for name in TELL_OF_CLIENTS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        provider = TracerProvider(resource=resource(), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter.OTLPSpanExporter()))
    except ValueError as error:  # a variable
        raise StartError(f"Tracing cannot be set up: {error}") from error
    try:
        yield Tracing(provider)
    finally:
        with trio.move_on_after(flush_seconds, shield=True):
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def resource() -> Resource:
    """Return what tells of this process; what variables say of it goes before what we do."""
    found = Resource.create()
    ours = {SERVICE_NAME: SYSTEM, SERVICE_VERSION: VERSION}
    missing = {
        name: value
        for name, value in ours.items()
        if str(found.attributes.get(name, UNNAMED)).startswith(UNNAMED)
    }
    return found.merge(Resource(missing))
