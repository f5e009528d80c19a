"""Domains and their public feeds, as the configuration file names them.

    [[domain]]
    name = "weather"
    title = "Weather reports"

    [[domain.feed]]
    name = "alerts"
    type = "fanout"

The domain `default`, and the feed `default` in every domain, exist whether
they are named or not (2/RestMS). Faults are ValueErrors that name the entry.
"""

from collections.abc import Sequence

from restms_cluster.errors import BadRequestError
from restms_cluster.levels import LEVELS, Level
from restms_cluster.model import ConfiguredDomain, ConfiguredFeed, Limits
from restms_cluster.names import DEFAULT, check_name, check_text, is_domain, is_name
from restms_cluster.terms import read_window

DEFAULT_FEED = ConfiguredFeed(DEFAULT, title="Default feed")


def read_domains(value: object, limits: Limits) -> tuple[ConfiguredDomain, ...]:
    """Read the file's key `domain`. Raises ValueError with one sentence."""
    domains = [_domain(entry, limits) for entry in _entries(value, "domain")]
    _check_unique("The domain", [domain.name for domain in domains])
    if not any(domain.name == DEFAULT for domain in domains):
        domains.insert(0, ConfiguredDomain(DEFAULT, "Default domain", (DEFAULT_FEED,)))
    return tuple(domains)


def _domain(entry: dict[str, object], limits: Limits) -> ConfiguredDomain:
    what = _titled("domain", entry)
    _check_keys(what, entry, ("name", "title", "feed"))
    name = _text(what, entry, "name", limits)
    if not is_domain(name):
        raise ValueError(
            f"A {what} needs a name of up to 63 letters, digits, _ and -, that starts with a "
            "letter, a digit or _."
        )
    title = _text(what, entry, "title", limits)
    if name == DEFAULT and "title" not in entry:
        title = "Default domain"
    feeds = [
        _feed(f"of the {what}", feed, limits)
        for feed in _entries(entry.get("feed", []), f"feed of the {what}")
    ]
    _check_unique(f"In the {what}, the feed", [feed.name for feed in feeds])
    if not any(feed.name == DEFAULT for feed in feeds):
        feeds.insert(0, DEFAULT_FEED)
    names = {feed.name for feed in feeds}
    for feed in feeds:
        if feed.dead_letter and feed.dead_letter not in names:
            raise ValueError(
                f'The dead_letter of the feed "{feed.name}" of the {what} names no feed of it.'
            )
    if len(feeds) > limits.feeds_per_domain:
        raise ValueError(f"The {what} has more than {limits.feeds_per_domain} feeds.")
    return ConfiguredDomain(name, title, tuple(feeds))


def _feed(where: str, entry: dict[str, object], limits: Limits) -> ConfiguredFeed:
    what = f"{_titled('feed', entry)} {where}"
    _check_keys(
        what, entry, ("name", "type", "title", "license", "dead_letter", "dedup", "durability")
    )
    name, type_, title, license_ = (
        _text(what, entry, key, limits) for key in ("name", "type", "title", "license")
    )
    try:
        check_name(name, limits.name_length)
    except BadRequestError as error:
        raise ValueError(f"The {what} is not well named: {error.text}") from error
    if name == DEFAULT and type_:
        raise ValueError(f"The {what} always has the empty type.")
    if name == DEFAULT and "title" not in entry:
        title = DEFAULT_FEED.title
    letters = _text(what, entry, "dead_letter", limits)
    if letters and not is_name(letters):
        raise ValueError(f"The dead_letter of the {what} must be the name of a feed.")
    return ConfiguredFeed(
        name, type_, title, license_, letters, _window(what, entry), _level(what, entry)
    )


def _level(what: str, entry: dict[str, object]) -> Level:
    level = LEVELS.get(str(entry.get("durability", Level.NODE)))
    if level is None:
        raise ValueError(f"The durability of the {what} must be one of {', '.join(LEVELS)}.")
    return level


def _window(what: str, entry: dict[str, object]) -> str:
    value = entry.get("dedup", 0)
    if type(value) not in (int, float):
        raise ValueError(f"The dedup of the {what} must be a number of seconds.")
    try:
        return read_window(str(value)) or ""
    except BadRequestError as error:
        raise ValueError(f"The dedup of the {what} is not well: {error.text}") from error


def _entries(value: object, what: str) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"A {what} is written as a table of its own, under double brackets.")
    return value


def _titled(noun: str, entry: dict[str, object]) -> str:
    name = entry.get("name")
    return f'{noun} "{name}"' if isinstance(name, str) else noun


def _check_keys(what: str, entry: dict[str, object], known: Sequence[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f'The {what} has an unknown key "{key}"; known: {", ".join(known)}.')


def _text(what: str, entry: dict[str, object], key: str, limits: Limits) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"The {key} of the {what} must be a text.")  # noqa: TRY004
    try:
        return check_text(f"The {key} of the {what}", value, limits.text_length)
    except BadRequestError as error:
        raise ValueError(error.text) from error


def _check_unique(what: str, names: Sequence[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f'{what} "{name}" is there twice.')
        seen.add(name)
