"""How `restms inspect` shows to people what it has seen."""

from collections.abc import Iterator, Sequence

from restms_cluster.inspection import DomainSeen, ServerSeen
from restms_cluster.inspection_feeds import FeedSeen
from restms_cluster.inspection_pipes import JoinSeen, PipeSeen
from restms_node.columns import UNKNOWN, age, clean, cut, known, plural, size, table


def of_overview(servers: Sequence[ServerSeen], domains: Sequence[DomainSeen]) -> str:
    """Show servers, and what is in domains."""
    heads = (
        *("DOMAIN", "FEEDS", "PIPES", "MESSAGES", "OLDEST", "QUEUED", "DELAYED", "WORKS"),
        *("BYTES", "FORMAT", "SWEPT", "BY", "FLOOR", "SERVER"),
    )
    several = len(servers) > 1
    rows = [
        (
            domain.name,
            domain.feeds,
            domain.pipes,
            domain.messages,
            age(domain.oldest_seconds),
            domain.queued,
            domain.delayed,
            domain.works,
            size(domain.bytes),
            known(domain.format),
            "never" if domain.swept_seconds is None else f"{age(domain.swept_seconds)} ago",
            known(domain.lease),
            domain.floor,
            domain.server,
        )
        for domain in domains
    ]
    columns = len(heads) if several else -1
    shown = _table(heads[:columns], [row[:columns] for row in rows], "domains")
    return "\n".join([*(line for server in servers for line in _server(server)), "", *shown])


def of_feeds(feeds: Sequence[FeedSeen], more: int) -> str:
    """Show feeds."""
    heads = (
        *("DOMAIN", "FEED", "TYPE", "JOINS", "QUEUED", "DELAYED", "DEAD LETTERS TO"),
        *("CONFIGURED", "TITLE"),
    )
    rows = [
        (
            feed.domain,
            cut(feed.name),
            feed.type or "(default)",
            feed.joins,
            feed.queued,
            feed.delayed,
            known(feed.dead_letter),
            "yes" if feed.configured else "no",
            cut(feed.title),
        )
        for feed in feeds
    ]
    return "\n".join([*_table(heads, rows, "feeds"), *_more(more, "feed")])


def of_pipes(pipes: Sequence[PipeSeen], more: int) -> str:
    """Show pipes."""
    heads = (
        *("DOMAIN", "PIPE", "TYPE", "MESSAGES", "OLDEST", "LAST NUMBER", "JOINS"),
        *("COLLECTED IN", "TITLE"),
    )
    rows = [
        (
            pipe.domain,
            pipe.pipe,
            pipe.type or "(default)",
            pipe.messages,
            age(pipe.oldest_seconds),
            pipe.last,
            pipe.joins,
            _collected(pipe),
            cut(pipe.title),
        )
        for pipe in pipes
    ]
    return "\n".join([*_table(heads, rows, "pipes"), *_more(more, "pipe")])


def of_pipe(pipe: PipeSeen, joins: Sequence[JoinSeen]) -> str:
    """Show one pipe and its joins."""
    rows = [(cut(join.feed), known(join.type), cut(join.address, 80)) for join in joins]
    return "\n".join(
        [
            *(
                f"{what:<13} {clean(str(value))}"
                for what, value in (
                    ("pipe", pipe.pipe),
                    ("domain", pipe.domain),
                    ("type", pipe.type or "(default)"),
                    ("title", cut(pipe.title, 200) or UNKNOWN),
                    ("messages", f"{pipe.messages:,}"),
                    ("oldest", age(pipe.oldest_seconds)),
                    ("last number", pipe.last),
                    ("joins", pipe.joins),
                    ("collected in", _collected(pipe)),
                )
            ),
            "",
            *_table(("FEED", "TYPE", "ADDRESS"), rows, "joins"),
            *_more(pipe.joins - len(joins), "join"),
        ]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str | int]], nouns: str) -> Iterator[str]:
    return table(heads, rows) if rows else iter([f"There are no {nouns}."])


def _server(server: ServerSeen) -> Iterator[str]:
    role = server.role
    if server.replicas:
        role += f" with {plural(server.replicas, 'replica')}"
    yield clean(
        f"{server.address}: {server.name} {server.version}, {server.mode}, {role}, "
        f"up {age(server.up_seconds)}"
    )
    most = " (no bound)" if server.most_bytes == 0 else f" of {size(server.most_bytes)}"
    kept = {True: "on", False: "OFF", None: UNKNOWN}[server.append_only]
    yield clean(
        f"  memory {size(server.used_bytes)}{most}, {known(server.eviction)}; "
        f"append-only file {kept}; clients {known(server.clients)}; {plural(server.keys, 'key')}"
    )


def _collected(pipe: PipeSeen) -> str:
    if pipe.idle_seconds is not None and pipe.idle_seconds <= 0:
        return "due"
    return age(pipe.idle_seconds)


def _more(more: int, noun: str) -> Iterator[str]:
    if more > 0:
        yield f"… and {plural(more, noun)} more"
