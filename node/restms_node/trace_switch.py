"""Whether there are traces: only where an option of ours says so.

The variables OTEL_… that say where they go stand in many an environment for other programs'
sake, so by these alone nothing starts. And the packages are an extra, `restms[tracing]`:
they are imported only then.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from restms_cluster.errors import StartError
from restms_node.config import Settings

if TYPE_CHECKING:
    from restms_node.tracing import Tracing

FLUSH_SECONDS = 2.0
"""So long may it take at the node's end to send the last spans."""


def check(settings: Settings) -> None:
    """Raise StartError where traces are asked for and the packages are missing."""
    if settings.tracing:
        _export()


@asynccontextmanager
async def tracing(settings: Settings) -> "AsyncIterator[Tracing | None]":
    """Trace for the time of a block, if that is asked for; raises StartError where it cannot."""
    if not settings.tracing:
        yield None
        return
    async with _export().opened(FLUSH_SECONDS) as one:
        yield one


def _export() -> Any:
    try:
        return import_module("restms_node.trace_export")
    except ModuleNotFoundError as error:
        raise StartError(
            f"--tracing needs packages that are not there (no {error.name}): "
            "pip install 'restms[tracing]'."
        ) from error
