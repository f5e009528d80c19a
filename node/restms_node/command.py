"""The command line: `restms serve` and its options, all of them from the table of settings."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import trio

from restms_cluster.errors import StartError
from restms_node import server, workers
from restms_node.config import CONFIG, Option, load, options
from restms_node.version import VERSION

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    if given.pop("command") is None:
        parser.print_help(sys.stderr)
        return MISUSED
    status = 0
    try:
        _serve({name: text for name, text in given.items() if text is not None})
    except* StartError as group:
        print(f"restms: {first_error(group)}", file=sys.stderr)  # noqa: T201
        status = FAILED
    except* KeyboardInterrupt:  # before anything was begun that would have to be undone
        status = INTERRUPTED
    return status


def make_parser() -> argparse.ArgumentParser:
    """Make the parser. It leaves the values as text: they are read like those of the file."""
    parser = argparse.ArgumentParser(
        prog="restms", description="A RestMS broker over plain HTTP.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"restms {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="run a node",
        usage="restms serve [options]",
        description="Run a node of the broker, until SIGTERM or Ctrl-C.",
        epilog="Every option is also an environment variable (--max-waits is RESTMS_MAX_WAITS) "
        "and a key of the TOML file (max_waits). Flags go before the environment, the "
        "environment before the file. Domains and their feeds are named in the file.",
        allow_abbrev=False,
    )
    serving.add_argument("--config", metavar="FILE", dest=CONFIG, help="the TOML file")
    limits = serving.add_argument_group("limits on what clients may ask for")
    for option in options():
        (limits if option.is_limit else serving).add_argument(
            option.flag, dest=option.name, metavar=option.kind.metavar, help=_help(option)
        )
    serving.add_argument(
        "--no-lane", dest="lane", action="store_const", const="off", help="the same as --lane off"
    )
    return parser


def set_up_logging(level: str = "info") -> None:
    """Log to standard error, one line for each event."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class OneLine(logging.Formatter):
    """Writes time (UTC), level, logger and message in one line, whatever they contain."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a stack trace, or what somebody sent, does not break it."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def _serve(flags: dict[str, str]) -> None:
    set_up_logging()
    settings = load(flags, os.environ)
    logging.getLogger().setLevel(settings.log_level.upper())
    serve = workers.serve if settings.workers > 1 else server.serve
    trio.run(until_told, partial(serve, settings))


async def until_told(serve: Callable[[], Awaitable[None]]) -> None:
    """Serve; a signal that comes before the server takes them itself undoes its start.

    Without this, SIGTERM would end the process on the spot and leave the
    embedded server behind.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_told, signals, nursery.cancel_scope)
            await serve()
            nursery.cancel_scope.cancel()


async def _cancel_when_told(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


def _help(option: Option) -> str:
    default = f" (default: {option.default})" if option.default else ""
    return f"{option.help}{default}".replace("%", "%%")


def first_error(group: BaseExceptionGroup[StartError]) -> BaseException:
    """Return the first of the errors in a group, and in the groups in it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
