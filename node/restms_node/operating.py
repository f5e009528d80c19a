"""What the commands for operators have in common: which Redis is meant, and how they end."""

import argparse
import getpass
import io
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from restms_cluster.errors import RestMSError, StartError
from restms_cluster.topology import Topology, parse_topology
from restms_node.config import Settings
from restms_node.options import CONFIG, load

REDIS = "redis"
T = TypeVar("T")


def add_redis(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which Redis is meant."""
    parser.add_argument(
        "--redis",
        metavar="URL",
        help="URL of the Redis, as of `restms serve`; where it has a password, set it in the "
        "environment (RESTMS_REDIS) or name the file, for flags can be seen by every user of the "
        "machine",
    )
    parser.add_argument(
        "--config", metavar="FILE", dest=CONFIG, help="the nodes' TOML file, for its settings"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def settings_of(given: Mapping[str, Any]) -> tuple[Settings, Topology]:
    """Return the nodes' settings, and which servers they mean. Raises StartError."""
    flags = {name: given[name] for name in (REDIS, CONFIG) if given[name] is not None}
    settings = load(flags, os.environ)
    if not settings.redis:
        raise StartError("Name a Redis: by --redis, by RESTMS_REDIS, or in the file of --config.")
    return settings, parse_topology(settings.redis)


def has_file(given: Mapping[str, Any]) -> bool:
    """Tell whether there is a configuration file, which names the domains."""
    return bool(given[CONFIG] or os.environ.get("RESTMS_CONFIG"))


def finish(work: Callable[[], Awaitable[T]]) -> T:
    """Run the work of a command to its end. Raises StartError with the reason if it fails.

    Raises KeyboardInterrupt where it is told to end before.
    """
    results: list[T] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_until_interrupted, nursery.cancel_scope)
            results.append(await work())
            nursery.cancel_scope.cancel()

    try:
        trio.run(run)
    except* RestMSError as group:
        raise StartError(_first(group).text) from None
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _until_interrupted(
    work: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    # Python's own way is to raise an error wherever it is: where objects are freed, that is lost.
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        await anext(signals)
        work.cancel()


@contextmanager
def output() -> Iterator[None]:
    """Print for the time of a block; who reads it may stop reading at any time (`| head`)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # of a test it may be something else
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def progress() -> Callable[[str], None]:
    """Return what tells somebody at a terminal how far a long walk is; nobody else."""
    if not sys.stderr.isatty():
        return _nothing
    return partial(_tell)


def _tell(words: str) -> None:
    print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)  # noqa: T201


def _nothing(_: str) -> None:
    pass


def read_line(path: Path | None, prompt: str) -> str:
    """Return the first line of a file, or of standard input: on a terminal it is not shown.

    Raises StartError.
    """
    try:
        if path is None and sys.stdin.isatty():
            return getpass.getpass(prompt).strip()
        if path is None:
            return sys.stdin.readline(10_000).strip()
        with path.open(encoding="utf-8") as file:
            return file.readline(10_000).strip()
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}.") from error
    except EOFError:
        return ""
    except UnicodeDecodeError as error:
        raise StartError("A URI is written in ASCII.") from error


def _first(group: BaseExceptionGroup[RestMSError]) -> RestMSError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RestMSError)  # noqa: S101, for the type checker
    return error
