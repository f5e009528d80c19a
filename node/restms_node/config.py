"""Settings: the one table of options, and how they are read.

Each field of `Settings`, and each of the broker's `Limits`, is an option. Its
flag (--max-waits), its environment variable (RESTMS_MAX_WAITS) and its key in
the TOML file (max_waits) all come from its name. A flag goes before the
environment, the environment before the file, the file before the default.
Domains, and who comes in, are in the file only.
"""

import logging
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import platformdirs

from restms_cluster.errors import StartError
from restms_cluster.levels import LEVELS, Durability, Level
from restms_cluster.model import ConfiguredDomain, Limits
from restms_cluster.names import FeedName
from restms_cluster.profiles import load_profiles
from restms_cluster.rates import Rate
from restms_node import config_file, values
from restms_node.config_file import ConfigFile
from restms_node.configured import DOMAIN, read_domains
from restms_node.configured_access import AUTHENTICATOR, Authenticators, read_authenticators
from restms_node.configured_rates import RATE, Allowance, read_rates
from restms_node.rules import RULE, Rule, read_rules
from restms_node.tables import FaultError
from restms_node.values import Kind, Network, host_and_port

T = TypeVar("T")

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


def _option(kind: Kind[T], default: T, help_text: str) -> T:
    option: T = field(default=default, metadata={"kind": kind, "help": help_text})
    return option


def _data_dir() -> Path:
    return platformdirs.user_data_path("restms")


@dataclass(frozen=True, slots=True)
class Settings:
    """How `serve` behaves. Times are in seconds."""

    bind: str = _option(values.BIND, "127.0.0.1:8080", "where to listen; port 0 takes a free one")
    workers: int = _option(
        values.whole(), 1, "how many processes serve; each has these limits of its own"
    )
    redis: str = field(
        default="",
        # It may hold a password, and settings may be logged.
        repr=False,
        metadata={
            "kind": values.URL,
            "help": "URL of the Redis that all nodes share (redis://, rediss://, unix://, "
            "redis+sentinel:// or redis+cluster://); "
            "without it, a private server is started (set a password in the environment or the "
            "file: flags can be seen by every user of the machine)",
        },
    )
    data_dir: Path = field(
        default_factory=_data_dir,
        metadata={"kind": values.PATH, "help": "where the private server keeps its data"},
    )
    base_url: str = _option(
        values.BASE_URL, "", "public URL of this server, if it is not what the request's Host says"
    )
    trusted_proxies: tuple[Network, ...] = _option(
        values.NETWORKS, (), "proxies whose X-Forwarded-Proto, -Host and -For are believed"
    )
    hosts: tuple[str, ...] = _option(
        values.HOSTS,
        (),
        "host names that a server without an authenticator answers to, beside this machine's own "
        "and that of --base-url; * for all",
    )
    cors_origins: tuple[str, ...] = _option(
        values.ORIGINS, (), "origins whose web pages may use this server (CORS); * for all"
    )
    wait_seconds: float = _option(
        values.seconds(1), 55.0, "how long a request may wait for a message"
    )
    reread_seconds: float = _option(
        values.seconds(), 5.0, "how often a waiting request looks by itself, hints or not"
    )
    heartbeat_seconds: float = _option(
        values.seconds(), 15.0, "how long a stream of messages is silent before it gives a sign"
    )
    max_waits: int = _option(
        values.whole(), 10_000, "most requests that may wait at a time, streams among them"
    )
    max_waits_each: int = _option(
        values.whole(), 10_000, "most of these of one principal, or of one address"
    )
    request_rate: Rate | None = field(
        default=None,
        metadata={
            "kind": values.RATE,
            "help": "most requests of a principal, or of an address, in each domain: 100/s, or "
            "500/5s for as many on average and 500 at once; off for any number",
        },
    )
    message_rate: Rate | None = field(
        default=None,
        metadata={
            "kind": values.RATE,
            "help": "most messages that each of them publishes in a domain",
        },
    )
    login_rate: Rate | None = field(
        default=Rate(100, 60),
        metadata={
            "kind": values.RATE,
            "help": "most wrong credentials that come from an address",
        },
    )
    drain_delay_seconds: float = _option(
        values.seconds(0),
        1.0,
        "how long after SIGTERM new connections are still taken while /readyz fails",
    )
    drain_seconds: float = _option(
        values.seconds(0), 10.0, "how long requests under way may still take when the server ends"
    )
    body_seconds: float = _option(values.seconds(), 30.0, "how long a request's body may take")
    codings: tuple[str, ...] = _option(
        values.words("zstd", "gzip"),
        ("zstd", "gzip"),
        "content codings of requests and answers, those that the server prefers first",
    )
    sweep_seconds: float = _option(
        values.seconds(), 5.0, "how often idle pipes and what was deleted are cleared away"
    )
    redis_timeout_seconds: float = _option(
        values.seconds(), 10.0, "how long Redis may take to answer"
    )
    durability: str = _option(
        values.choice(*LEVELS),
        str(Level.NODE),
        "what a message has survived when its publisher is answered; feeds may have more",
    )
    replicas: int = _option(
        values.whole(), 1, "how many replicas have a message then, at a level with replicas"
    )
    replica_seconds: float = _option(
        values.seconds(), 1.0, "how long those may take; then the publisher is told 503"
    )
    extra_profiles: tuple[str, ...] = _option(
        values.MODULES, (), "modules of profiles that do not come with the server"
    )
    insecure: bool = _option(
        values.SWITCH,
        False,  # noqa: FBT003, a default like the others
        "whether the server may listen elsewhere than on this machine without any authenticator",
    )
    lane: bool = _option(
        values.SWITCH,
        True,  # noqa: FBT003, a default like the others
        "whether the usual requests for messages take the short way past the web framework",
    )
    log_level: str = _option(
        values.choice("debug", "info", "warning", "error"), "info", "least level of what is logged"
    )
    audit_log: Path | None = field(
        default=None,
        metadata={
            "kind": values.FILE,
            "help": "file to which every refusal and every change of feeds, pipes and joins is "
            "written, a line of JSON each; by default standard error, where there is an "
            "authenticator",
        },
    )
    limits: Limits = field(default_factory=Limits)
    domains: tuple[ConfiguredDomain, ...] = read_domains([], Limits())
    authenticators: Authenticators = field(default_factory=Authenticators)
    rules: tuple[Rule, ...] = ()
    rates: tuple[Allowance, ...] = ()

    @property
    def levels(self) -> Durability:
        """What is promised to publishers."""
        feeds = {
            FeedName(domain.name, feed.name): feed.durability
            for domain in self.domains
            for feed in domain.feeds
        }
        level = LEVELS[self.durability]
        return Durability(level, feeds, self.replicas, self.replica_seconds)

    @property
    def host(self) -> str:
        """The host part of `bind`, without brackets."""
        return host_and_port(self.bind)[0]

    @property
    def port(self) -> int:
        """The port part of `bind`; 0 for any that is free."""
        return host_and_port(self.bind)[1]


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
