"""The command line: `restms serve`, whose options are the table of settings, and small helpers."""

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from restms_cluster.errors import StartError, first_error
from restms_node import (
    command_check,
    command_doctor,
    command_drain,
    command_inspect,
    command_key,
    command_passwd,
    logs,
    server,
    workers,
)
from restms_node.options import CONFIG, Option, load, options
from restms_node.values import SWITCH
from restms_node.version import VERSION

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
SERVE = "serve"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))
    command = given.pop("command")
    if command is None:
        parser.print_help(sys.stderr)
        return MISUSED
    status = 0
    try:
        status = COMMANDS[command](given)
    except* StartError as group:
        logs.fail(str(first_error(group)))
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
    _add_settings(
        commands, SERVE, "run a node", "Run a node of the broker, until SIGTERM or Ctrl-C."
    )
    _add_settings(
        commands,
        command_check.COMMAND,
        "tell whether a node could be run so",
        "Read all that `restms serve` would read with the same options, and the files of users "
        "and keys; say OK, or the first fault with its file and line.",
    )
    command_passwd.add_to(commands)
    command_key.add_to(commands)
    command_inspect.add_to(commands)
    command_doctor.add_to(commands)
    command_drain.add_to(commands)
    return parser


def _add_settings(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    help: str,
    description: str,
) -> None:
    """Add a command that takes every option there is."""
    serving = commands.add_parser(
        name,
        help=help,
        usage=f"restms {name} [options]",
        description=description,
        epilog="Every option is also an environment variable (--max-waits is RESTMS_MAX_WAITS) "
        "and a key of the TOML file (max_waits). Flags go before the environment, the "
        "environment before the file. Domains and their feeds, and authenticators, are named in "
        "the file.",
        allow_abbrev=False,
    )
    serving.add_argument("--config", metavar="FILE", dest=CONFIG, help="the TOML file")
    limits = serving.add_argument_group("limits on what clients may ask for")
    for option in options():
        # A switch alone switches on.
        alone: dict[str, Any] = {"nargs": "?", "const": "on"} if option.kind is SWITCH else {}
        (limits if option.is_limit else serving).add_argument(
            option.flag,
            dest=option.name,
            metavar=option.kind.metavar,
            help=_help(option),
            **alone,
        )
    serving.add_argument(
        "--no-lane", dest="lane", action="store_const", const="off", help="the same as --lane off"
    )


def _serve(given: dict[str, Any]) -> int:
    flags = _flags(given)
    logs.set_up(logs.of(flags, os.environ))
    settings = load(flags, os.environ)
    logs.set_up(settings.log_format, settings.log_level)
    if settings.workers > 1:
        trio.run(until_told, partial(workers.serve, settings, flags))
    else:
        trio.run(until_told, partial(server.serve, settings))
    return 0


def _check(given: dict[str, Any]) -> int:
    logs.set_up(logs.HUMAN)
    return command_check.run(_flags(given))


def _flags(given: dict[str, Any]) -> dict[str, str]:
    return {name: text for name, text in given.items() if text is not None}


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


COMMANDS: Mapping[str, Callable[[dict[str, Any]], int]] = {
    SERVE: _serve,
    command_check.COMMAND: _check,
    command_passwd.COMMAND: command_passwd.run,
    command_key.COMMAND: command_key.run,
    command_inspect.COMMAND: command_inspect.run,
    command_doctor.COMMAND: command_doctor.run,
    command_drain.COMMAND: command_drain.run,
}
"""By name; each returns its exit status, or raises StartError."""
