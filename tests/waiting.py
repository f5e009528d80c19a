"""Waiting for a condition, so that no test has to guess how long something takes."""

from collections.abc import Awaitable, Callable

import trio

SECONDS = 10.0


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when the condition holds; TooSlowError if it does not for ten seconds."""
    with trio.fail_after(SECONDS):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await trio.sleep(0.005)
