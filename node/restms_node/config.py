"""Settings: how a node behaves. Each field is an option, see `options.py`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import platformdirs

from restms_cluster.levels import LEVELS, Durability, Level
from restms_cluster.model import ConfiguredDomain, Limits
from restms_cluster.names import FeedName
from restms_cluster.rates import Rate
from restms_node import values
from restms_node.configured import read_domains
from restms_node.configured_access import Authenticators
from restms_node.configured_rates import Allowance
from restms_node.rules import Rule
from restms_node.values import Kind, Network, host_and_port

T = TypeVar("T")


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
    metrics_bind: str = _option(
        values.BIND_OR_OFF,
        "",
        "where /metrics is served, to whoever can reach it; without that, on the main address, to "
        "those whom a rule lets inspect all domains; off for nowhere",
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
    log_format: str = _option(
        values.choice("auto", "json", "human"),
        "auto",
        "how the log is written: json, a line of JSON for each event, or human; auto is human on "
        "a terminal, else json",
    )
    access_log: bool = _option(
        values.SWITCH,
        False,  # noqa: FBT003, a default like the others
        "whether every request is logged, in one line each",
    )
    tracing: bool = _option(
        values.SWITCH,
        False,  # noqa: FBT003, a default like the others
        "whether publishing, delivering and acknowledging are traced (OpenTelemetry); where the "
        "traces go, say the variables OTEL_…",
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
    pid_file: Path | None = field(
        default=None,
        metadata={
            "kind": values.FILE,
            "help": "file that has the number of the process while it serves, for `restms drain`",
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
