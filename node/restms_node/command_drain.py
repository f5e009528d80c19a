"""`restms drain`: have a node send its waiting readers elsewhere, before it is ended."""

import argparse
from pathlib import Path
from typing import Any

from restms_cluster.errors import StartError
from restms_node import control, pid_file

COMMAND = "drain"
SECONDS = 15.0
MOST = 2**31 - 1  # of a process, whatever the system


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        COMMAND,
        help="have a node send waiting readers elsewhere",
        description="Tell a node on this machine to drain: its waiting readers and streams end, "
        "/readyz fails, and it serves everything else until it is ended (SIGTERM). Return when "
        "no wait and no stream is left.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--pid", metavar="N", type=int, help="the node's process")
    which.add_argument(
        "--pid-file", metavar="FILE", type=Path, help="what `restms serve --pid-file` has written"
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=SECONDS,
        help=f"how long that may take (default: {SECONDS:g})",
    )


def run(given: dict[str, Any]) -> int:
    """Run the command. Raises StartError."""
    process, seconds = given["pid"], given["seconds"]
    if process is None:
        process = pid_file.read(given["pid_file"])
    if not 0 < process <= MOST:
        raise StartError("There is no process with such a number.")
    if not 0 < seconds < float("inf"):
        raise StartError("The seconds are a number greater than 0.")
    control.ask(process, seconds)
    return 0
