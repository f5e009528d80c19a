"""`restms passwd`: the file of those who come in by a password."""

import argparse
import getpass
import sys
from functools import partial
from pathlib import Path
from typing import Any

from restms_cluster.errors import StartError
from restms_node.credential_file import change, is_of
from restms_node.credential_lines import MOST_PASSWORD_BYTES, is_line_name

COMMAND = "passwd"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        COMMAND,
        help="set a user's password",
        description="Set a user's password in a file of users, which is made where there is none. "
        "The password is asked for twice on a terminal; else it is one line of standard input.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the file of users")
    parser.add_argument("user", metavar="USER", help="the user's name")
    parser.add_argument(
        "--groups", metavar="GROUP,...", help="the user's groups (default: those he has)"
    )
    parser.add_argument("--delete", action="store_true", help="take the user out of the file")


def run(given: dict[str, Any]) -> int:
    """Run the command. Raises StartError."""
    from restms_node import users_file  # noqa: PLC0415, with it comes argon2

    path, user, groups = given["file"], given["user"], given["groups"]
    if not is_line_name(user):
        raise StartError("A user's name has 1 to 255 characters, no colon and no comma.")
    if given["delete"]:
        change(path, partial(_without, user), users_file.read)
        return 0
    password = _asked()

    def edit(lines: list[str]) -> list[str]:
        line = users_file.line_of(
            user, password, _groups(lines, user) if groups is None else groups
        )
        at = next((n for n, old in enumerate(lines) if is_of(old, 0, user)), len(lines))
        return [*lines[:at], line, *lines[at + 1 :]]

    change(path, edit, users_file.read)
    return 0


def _without(user: str, lines: list[str]) -> list[str]:
    left = [line for line in lines if not is_of(line, 0, user)]
    if len(left) == len(lines):
        raise StartError(f'There is no user "{user}" in the file.')
    return left


def _groups(lines: list[str], user: str) -> str:
    """Return the groups that a user has in the file."""
    for line in lines:
        if is_of(line, 0, user):
            return line.strip().partition(":")[2].partition(":")[2]
    return ""


def _asked() -> bytes:
    """Return the password, as bytes of UTF-8, which is what clients send."""
    if sys.stdin.isatty():
        password = _typed("Password: ")
        if _typed("Once more: ") != password:
            raise StartError("The two are not the same; nothing was changed.")
    else:
        password = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    if not 0 < len(password) <= MOST_PASSWORD_BYTES:
        raise StartError(f"A password has 1 to {MOST_PASSWORD_BYTES} bytes; nothing was changed.")
    return password


def _typed(prompt: str) -> bytes:
    try:
        return getpass.getpass(prompt).encode("utf-8", "surrogateescape")
    except EOFError:
        raise StartError("No password was given; nothing was changed.") from None
