"""Servers beside ours: started in the foreground, waited for, and ended with all their children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 90.0  # Erlang takes its time on a busy machine
STOP_SECONDS = 5.0


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Have a process run, from when it is ready; RuntimeError with its log if it never is.

    It has a process group of its own, so that a Ctrl-C at the terminal is not for it, and
    none of its children is left behind. What it holds is of no use to anybody afterwards.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                raise RuntimeError(f"{command[0]} did not start:\n{text[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        _end(process)


def listens(port: int) -> bool:
    """Tell whether somebody takes connections on that port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _end(process: "subprocess.Popen[bytes]") -> None:
    for how, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    # Whoever of the group outlived its first process is not waited for any more.
