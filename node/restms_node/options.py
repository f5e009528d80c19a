"""Options: the one table of them, and how flags, environment and file become settings.

Each field of `Settings`, and each of the broker's `Limits`, is an option. Its
flag (--max-waits), its environment variable (RESTMS_MAX_WAITS) and its key in
the TOML file (max_waits) all come from its name. A flag goes before the
environment, the environment before the file, the file before the default.
Domains, and who comes in, are in the file only.
"""

import logging
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any

from restms_cluster.errors import StartError
from restms_cluster.model import Limits
from restms_cluster.profiles import load_profiles
from restms_node import config_file, values
from restms_node.config import Settings
from restms_node.config_file import ConfigFile
from restms_node.configured import DOMAIN, read_domains
from restms_node.configured_access import AUTHENTICATOR, read_authenticators
from restms_node.configured_rates import RATE, read_rates
from restms_node.rules import RULE, read_rules
from restms_node.tables import FaultError
from restms_node.values import Kind

PREFIX = "RESTMS_"
CONFIG = "config"

TABLES = (DOMAIN, AUTHENTICATOR, RULE, RATE)
"""The keys of the file that are no options."""

LIMITS_HELP = {
    "document_bytes": "largest document that a client may post",
    "content_bytes": "largest content of a message",
    "embed_bytes": "largest content that comes within its message; others come by their own URI",
    "messages_per_request": "most messages in one publish",
    "deliveries_per_request": "most deliveries (messages times pipes) in one publish",
    "headers_per_message": "most headers in a message or a join",
    "contents_per_message": "most contents in a message",
    "name_length": "longest name of a feed, in characters",
    "address_length": "longest address, in characters",
    "text_length": "longest title, licence, property or header, in characters",
    "feeds_per_domain": "most feeds in a domain",
    "pipes_per_domain": "most pipes in a domain",
    "bytes_per_domain": "most bytes that a domain takes in Redis; off for any number",
    "joins_per_pipe": "most joins of a pipe",
    "messages_per_pipe": "most messages that a pipe holds; a full pipe takes no more",
    "messages_per_feed": "most messages that wait in a feed, to be handed out or for their time",
    "redeliveries": "how often a message comes back before it goes to a dead-letter feed",
    "messages_listed": "most messages that one answer lists",
    "messages_read": "most whole messages in one answer, of a pipe read with ?messages=N",
    "read_bytes": "bytes of messages after which such an answer ends",
    "staged_seconds": "how long a staged content waits for its message",
    "idempotency_seconds": "how long a repeat is known by its Idempotency-Key",
    "idle_seconds": "how long a pipe that nobody uses is kept",
}

_log = logging.getLogger("restms.config")


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table."""

    name: str
    kind: Kind[Any]
    help: str
    default: str
    is_limit: bool

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The option in the environment."""
        return PREFIX + self.name.upper()


def options() -> tuple[Option, ...]:
    """Return the table: the settings, then the limits."""
    settings = [
        Option(
            item.name, item.metadata["kind"], item.metadata["help"], _default(item), is_limit=False
        )
        for item in fields(Settings)
        if "kind" in item.metadata
    ]
    limits = [
        Option(
            item.name,
            _limit_kind(item),
            LIMITS_HELP.get(item.name, item.name.replace("_", " ")),
            _default(item),
            is_limit=True,
        )
        for item in fields(Limits)
    ]
    return (*settings, *limits)


def load(flags: Mapping[str, str], environment: Mapping[str, str]) -> Settings:
    """Return the settings; `flags` has the texts of the flags given, by the option's name.

    Raises StartError with one sentence that names the place of the fault.
    """
    table = options()
    path = flags.get(CONFIG) or environment.get(PREFIX + CONFIG.upper())
    file = config_file.read(Path(path)) if path else ConfigFile()
    _check_keys(file, table)
    _warn_of_unknown(environment, table)
    found: dict[str, Any] = {}
    for option in table:
        if option.name in flags:
            found[option.name] = _from_text(option, option.flag, flags[option.name])
        elif option.variable in environment:
            found[option.name] = _from_text(option, option.variable, environment[option.variable])
        elif option.name in file.values:
            found[option.name] = _from_file(option, file)
    limits = Limits(**{o.name: found.pop(o.name) for o in table if o.is_limit and o.name in found})
    profiles = load_profiles(found.get("extra_profiles", ()))
    types = frozenset().union(*(profile.feed_types for profile in profiles))
    try:
        domains = read_domains(file.values.get(DOMAIN, []), limits, types)
        proxies = bool(found.get("trusted_proxies"))
        authenticators = read_authenticators(file, proxies=proxies)
        rules = read_rules(
            file.values.get(RULE, []),
            {domain.name for domain in domains},
            authenticators=bool(authenticators),
        )
        rates = read_rates(file.values.get(RATE, []))
    except FaultError as error:
        raise file.fault(error) from error
    settings = Settings(
        **found,
        limits=limits,
        domains=domains,
        authenticators=authenticators,
        rules=rules,
        rates=rates,
    )
    if not settings.redis and not settings.data_dir.is_absolute():
        raise StartError("This user has no home directory to keep data in; give --data-dir.")
    return settings


def _default(item: Field[Any]) -> str:
    if item.default_factory is not MISSING:
        return str(item.default_factory())
    value = item.default
    if value is None:
        return "off" if item.metadata["kind"] is values.RATE else ""
    if item.name == "bytes_per_domain":
        return "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _limit_kind(item: Field[Any]) -> Kind[Any]:
    if item.name.endswith("_bytes"):
        return values.SIZE
    if item.name == "bytes_per_domain":
        return values.QUOTA
    return values.seconds() if item.type is float else values.whole()


def _check_keys(file: ConfigFile, table: tuple[Option, ...]) -> None:
    known = {*TABLES, *(option.name for option in table)}
    for key in file.values:
        if key not in known:
            raise file.error(f'There is no option "{key}".', (key,))


def _warn_of_unknown(environment: Mapping[str, str], table: tuple[Option, ...]) -> None:
    # Not an error: Kubernetes sets variables such as RESTMS_PORT for a service named restms.
    known = {PREFIX + CONFIG.upper(), *(option.variable for option in table)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        _log.warning("no option, ignored: %s", ", ".join(unknown))


def _from_text(option: Option, where: str, text: str) -> object:
    try:
        return option.kind.read(text)
    except ValueError as error:
        raise StartError(f"{where} must be {option.kind.expected}.") from error


def _from_file(option: Option, file: ConfigFile) -> object:
    try:
        return option.kind.from_toml(file.values[option.name])
    except ValueError as error:
        text = f"{option.name} must be {option.kind.expected}."
        raise file.error(text, (option.name,)) from error
