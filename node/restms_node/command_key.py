"""`restms key`: the file of those who come in by a key."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from restms_cluster.errors import StartError
from restms_node import keys_file
from restms_node.credential_file import change, is_of
from restms_node.credential_lines import is_line_name

COMMAND = "key"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        COMMAND,
        help="make a key for a program",
        description="Make a key and put its hash in a file of keys, which is made where there is "
        "none. The key is printed, this once. A name may have several keys.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the file of keys")
    parser.add_argument("name", metavar="NAME", help="who comes in by the key")
    parser.add_argument("--groups", metavar="GROUP,...", default="", help="his groups")
    parser.add_argument(
        "--expires", metavar="TIME", default="", help="when the key ends, such as 2027-01-31"
    )
    parser.add_argument(
        "--delete",
        metavar="PREFIX",
        nargs="?",
        const="",
        help="take the key with this prefix out of the file; without one, all keys of the name",
    )


def run(given: dict[str, Any]) -> int:
    """Run the command. Raises StartError."""
    path, name, prefix = given["file"], given["name"], given["delete"]
    if not is_line_name(name):
        raise StartError("A name has 1 to 255 characters, no colon and no comma.")
    if prefix is None:
        print(_made(path, name, given["groups"], given["expires"]))  # noqa: T201
    else:
        _delete(path, name, prefix)
    return 0


def _made(path: Path, name: str, groups: str, expires: str) -> str:
    """Put a new key in the file, and return it."""
    try:
        ends = keys_file.read_time(expires) if expires else None
        until = "" if ends is None else keys_file.written_time(ends)
    except ValueError as error:
        raise StartError(str(error)) from error
    if ends is not None and ends <= datetime.now(UTC):
        raise StartError("The key would have ended before it is made.")
    prefix, secret = keys_file.new_key()
    line = keys_file.line_of(prefix, secret, name, groups, until)
    change(path, lambda lines: [*lines, line], keys_file.read)
    return f"{prefix}.{secret}"


def _delete(path: Path, name: str, prefix: str) -> None:
    def edit(lines: list[str]) -> list[str]:
        left = [
            line
            for line in lines
            if not is_of(line, 2, name) or (prefix and not is_of(line, 0, prefix))
        ]
        if len(left) == len(lines):
            raise StartError(f'There is no such key of "{name}" in the file.')
        return left

    change(path, edit, keys_file.read)
