"""Waiting for a condition, so that no test has to guess how long something takes."""

import time
from collections.abc import Awaitable, Callable

import trio

SECONDS = 10.0
SECONDS_OF_PROCESSES = 20.0  # several of them may have to do something


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when the condition holds; TooSlowError if it does not for ten seconds."""
    with trio.fail_after(SECONDS):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await trio.sleep(0.005)


def wait_until(condition: Callable[[], object], seconds: float = SECONDS_OF_PROCESSES) -> None:
    """Return when the condition holds, outside of Trio; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not come"
        time.sleep(0.005)
