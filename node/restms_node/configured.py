"""Domains and their public feeds, as the configuration file names them.

    [[domain]]
    name = "weather"
    title = "Weather reports"

    [[domain.feed]]
    name = "alerts"
    type = "fanout"

The domain `default`, and the feed `default` in every domain, exist whether
they are named or not (2/RestMS). Faults name the entry and tell where it is.
"""

from collections.abc import Collection, Sequence

from restms_cluster.errors import BadRequestError
from restms_cluster.levels import LEVELS, Level
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Limits
from restms_cluster.names import DEFAULT, check_name, check_text, is_domain, is_name
from restms_cluster.terms import read_window
from restms_node import values
from restms_node.tables import Table, listed

DOMAIN = "domain"
OWN_LIMITS = {
    "feeds_per_domain": values.whole(),
    "pipes_per_domain": values.whole(),
    "bytes_per_domain": values.QUOTA,
    "waits_per_domain": values.whole(),
}
DEFAULT_FEED = ConfiguredFeed(DEFAULT, title="Default feed")


def read_domains(
    value: object, limits: Limits, types: Collection[str] = ("",)
) -> tuple[ConfiguredDomain, ...]:
    """Read the file's key `domain`, whose feeds have these types. Raises FaultError."""
    tables = listed(value, DOMAIN, (DOMAIN,))
    domains = [_domain(table, limits, types) for table in tables]
    _check_unique("The domain", tables, [domain.name for domain in domains])
    if not any(domain.name == DEFAULT for domain in domains):
        domains.insert(0, ConfiguredDomain(DEFAULT, "Default domain", (DEFAULT_FEED,)))
    return tuple(domains)


def _domain(table: Table, limits: Limits, types: Collection[str]) -> ConfiguredDomain:
    table.check_keys(("name", "title", "feed", *OWN_LIMITS))
    name = _text(table, "name", limits)
    if not is_domain(name):
        raise table.fault(
            f"A {table.what} needs a name of up to 63 letters, digits, _ and -, that starts with "
            "a letter, a digit or _.",
            "name",
        )
    title = _text(table, "title", limits)
    if name == DEFAULT and "title" not in table.values:
        title = "Default domain"
    tables = table.tables("feed")
    feeds = [_feed(feed, limits, types) for feed in tables]
    _check_unique(f"In the {table.what}, the feed", tables, [feed.name for feed in feeds])
    names = {DEFAULT, *(feed.name for feed in feeds)}
    for place, feed in zip(tables, feeds, strict=True):
        if feed.dead_letter and feed.dead_letter not in names:
            raise place.fault(
                f"The dead_letter of the {place.what} names no feed of it.", "dead_letter"
            )
    if not any(feed.name == DEFAULT for feed in feeds):
        feeds.insert(0, DEFAULT_FEED)
    own = {key: _limit(table, key) for key in OWN_LIMITS}
    most = own["feeds_per_domain"] or limits.feeds_per_domain
    if len(feeds) > most:
        raise table.fault(f"The {table.what} has more than {most} feeds.")
    return ConfiguredDomain(name, title, tuple(feeds), **own)


def _limit(table: Table, key: str) -> int | None:
    if key not in table.values:
        return None
    kind = OWN_LIMITS[key]
    try:
        return kind.from_toml(table.values[key])
    except ValueError as error:
        text = f"The {key} of the {table.what} must be {kind.expected}."
        raise table.fault(text, key) from error


def _feed(table: Table, limits: Limits, types: Collection[str]) -> ConfiguredFeed:
    table.check_keys(("name", "type", "title", "license", "dead_letter", "dedup", "durability"))
    name, type_, title, license_ = (
        _text(table, key, limits) for key in ("name", "type", "title", "license")
    )
    try:
        check_name(name, limits.name_length)
    except BadRequestError as error:
        raise table.fault(f"The {table.what} is not well named: {error.text}", "name") from error
    if name == DEFAULT and type_:
        raise table.fault(f"The {table.what} always has the empty type.", "type")
    if type_ not in types:
        known = ", ".join(sorted(types)[1:])
        raise table.fault(f"The type of the {table.what} must be one of {known}, or empty.", "type")
    if name == DEFAULT and "title" not in table.values:
        title = DEFAULT_FEED.title
    letters = _text(table, "dead_letter", limits)
    if letters and not is_name(letters):
        raise table.fault(
            f"The dead_letter of the {table.what} must be the name of a feed.", "dead_letter"
        )
    return ConfiguredFeed(name, type_, title, license_, letters, _window(table), _level(table))


def _level(table: Table) -> Level:
    level = LEVELS.get(str(table.values.get("durability", Level.NODE)))
    if level is None:
        known = ", ".join(LEVELS)
        raise table.fault(
            f"The durability of the {table.what} must be one of {known}.", "durability"
        )
    return level


def _window(table: Table) -> str:
    value = table.values.get("dedup", 0)
    if type(value) not in (int, float):
        raise table.fault(f"The dedup of the {table.what} must be a number of seconds.", "dedup")
    try:
        return read_window(str(value)) or ""
    except BadRequestError as error:
        text = f"The dedup of the {table.what} is not well: {error.text}"
        raise table.fault(text, "dedup") from error


def _text(table: Table, key: str, limits: Limits) -> str:
    try:
        return check_text(f"The {key} of the {table.what}", table.text(key), limits.text_length)
    except BadRequestError as error:
        raise table.fault(error.text, key) from error


def _check_unique(what: str, tables: Sequence[Table], names: Sequence[str]) -> None:
    seen = set()
    for table, name in zip(tables, names, strict=True):
        if name in seen:
            raise table.fault(f'{what} "{name}" is there twice.', "name")
        seen.add(name)
