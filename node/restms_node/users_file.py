"""The file of those who come in by a password, one a line:

    NAME:HASH
    NAME:HASH:GROUP,GROUP

HASH is argon2id's, with its parameters (`$argon2id$v=19$m=…`), as `restms passwd` writes it.
"""

import base64
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from argon2 import Parameters, PasswordHasher, Type, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from restms_node.credential_lines import fields_of, read_groups, read_name
from restms_node.watched_file import LineError

MOST_MEMORY_KIB = 1 << 20
MOST_ROUNDS = 100

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""Some 20 ms and 19 MiB for each password that is checked: little enough for a busy node."""


@dataclass(frozen=True, slots=True)
class User:
    """What one must know (its hash), and whose group he is."""

    hash: str = field(repr=False)
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Users:
    """All users by name, and a `decoy`: a hash that nothing fits and that takes as long."""

    named: Mapping[str, User]
    decoy: str


def read(data: bytes) -> Users:
    """Read the file. Raises LineError."""
    named: dict[str, User] = {}
    costs: Counter[tuple[int, int, int]] = Counter()
    for number, line in fields_of(data):
        name, _, rest = line.partition(":")
        read_name(name, number)
        hashed, _, groups = rest.partition(":")
        parameters = _parameters(hashed, number)
        if name in named:
            raise LineError(f'The user "{name}" is there twice.', number)
        named[name] = User(hashed, read_groups(groups, number))
        costs[parameters.memory_cost, parameters.time_cost, parameters.parallelism] += 1
    usual = (HASHER.memory_cost, HASHER.time_cost, HASHER.parallelism)
    return Users(named, _decoy(*max(costs, key=costs.__getitem__, default=usual)))


def line_of(name: str, password: bytes, groups: str) -> str:
    """Return a user's line."""
    line = f"{name}:{HASHER.hash(password)}"
    return f"{line}:{groups}" if groups else line


def fits(hashed: str, password: bytes) -> bool:
    """Tell whether a password has this hash. It takes its time, and should not hold others up."""
    try:
        return HASHER.verify(hashed, password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False


def _parameters(hashed: str, number: int) -> Parameters:
    try:
        found = extract_parameters(hashed)
    except (InvalidHashError, ValueError):
        raise LineError("What follows the name is no hash of argon2id.", number) from None
    if found.type is not Type.ID:
        raise LineError("What follows the name is a hash of argon2, but not of argon2id.", number)
    if found.memory_cost > MOST_MEMORY_KIB or found.time_cost > MOST_ROUNDS:
        raise LineError("To check this hash would take too much time or memory.", number)
    return found


def _decoy(memory: int, rounds: int, lanes: int) -> str:
    salt, hashed = (
        base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32)
    )
    return f"$argon2id$v=19$m={memory},t={rounds},p={lanes}${salt}${hashed}"
