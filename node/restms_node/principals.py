"""Who makes a request, as its credentials told: see docs/security.md."""

from dataclasses import dataclass

NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, or some program, that requests are made by.

    `name` is empty where nobody said who he is. `groups` are those that its
    authenticator vouches for. `expires` is when its credentials end, in
    seconds since the epoch, None where they do not. `method` is the
    authenticator's kind, for the audit log.
    """

    name: str = ""
    groups: frozenset[str] = frozenset()
    expires: float | None = None
    method: str = "none"


ANONYMOUS = Principal()
"""Who makes a request that came without credentials."""


def is_principal_name(name: object) -> bool:
    """Tell whether somebody, or a group, may be called so: a name that can be seen and logged."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= NAME_LENGTH
        and name.isprintable()
        and name == name.strip()
    )
