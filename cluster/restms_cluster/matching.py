"""What the joins of a headers feed match by (4/AMQP9): digests of headers.

A header's digest is that of its name and value together, so that a script
compares texts of one length, whatever the client wrote.
"""

import hashlib
from collections.abc import Sequence

from restms_cluster.model import Header

MODE = "x-match"
"""The header of a join that says how many of the others a message must have: all or any."""


def carried(headers: Sequence[Header]) -> str:
    """Return the digests of a message's headers."""
    return " ".join(sorted({_digest(header) for header in headers}))


def wanted(headers: Sequence[Header]) -> str:
    """Return how a join matches, and the digests of its headers.

    Nothing where it says how, but neither all nor any.
    """
    modes = {header.value for header in headers if header.name == MODE} or {"all"}
    if modes not in ({"all"}, {"any"}):
        return ""
    digests = {_digest(header) for header in headers if header.name != MODE}
    return " ".join([*modes, *sorted(digests)])


def _digest(header: Header) -> str:
    text = f"{header.name}\0{header.value}".encode()
    # The scripts have this function; what it protects from is chance.
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
