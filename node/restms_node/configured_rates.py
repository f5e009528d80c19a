"""Rates of some principals, as the configuration file names them.

    [[rate]]
    principal = "billing"
    requests = "1000/s"
    messages = "off"

What an entry does not name is as the options say. The first entry that is for
somebody counts. Faults name the entry and tell where it is.
"""

from dataclasses import dataclass, replace

from restms_cluster.rates import Rate
from restms_node import values
from restms_node.principals import Principal, is_principal_name
from restms_node.tables import Table, listed

RATE = "rate"
KINDS = ("requests", "messages")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a principal, or each of a group, may do; `rates` has what is not as for all others."""

    principal: str
    group: str
    rates: tuple[tuple[str, Rate | None], ...]

    def is_for(self, principal: Principal) -> bool:
        """Tell whether it is for somebody."""
        if self.group:
            return self.group in principal.groups
        return principal.name == self.principal


def read_rates(value: object) -> tuple[Allowance, ...]:
    """Read the file's key `rate`. Raises FaultError with one sentence."""
    return tuple(
        _allowance(replace(table, what=f"rate {number}"))
        for number, table in enumerate(listed(value, RATE, (RATE,)), start=1)
    )


def _allowance(table: Table) -> Allowance:
    table.check_keys(("principal", "group", *KINDS))
    if ("principal" in table.values) == ("group" in table.values):
        raise table.fault(f"The {table.what} must have either a principal or a group.")
    key = "principal" if "principal" in table.values else "group"
    if not is_principal_name(table.text(key)):
        raise table.fault(f"The {key} of the {table.what} cannot be anybody's name.", key)
    if table.text(key) == "*":
        text = f"The {key} of the {table.what} is one {key}; rates of all others are options."
        raise table.fault(text, key)
    rates = tuple((kind, _rate(table, kind)) for kind in KINDS if kind in table.values)
    return Allowance(table.text("principal"), table.text("group"), rates)


def _rate(table: Table, kind: str) -> Rate | None:
    try:
        return values.RATE.from_toml(table.values[kind])
    except ValueError as error:
        text = f"The {kind} of the {table.what} must be {values.RATE.expected}."
        raise table.fault(text, kind) from error
