"""How many nodes, and which Redis, for how much traffic.

    python -m tests.benchmarks.scaling --publishes 2000 --readers 20000 --reread-seconds 60

Estimated from costs that were measured (docs/scaling.md says how, and what is not in it). All
are of one machine: `--slower 2` is for cores half as fast.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.benchmarks.scaling.costs import Costs
from tests.benchmarks.scaling.model import Traffic, Use, ceiling, needed, use

MOST_DOMAINS = 4096
MUCH = 0.2  # of Redis, for waits in which nothing happens


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plain = Traffic()
    for name, kind, text in (
        ("publishes", float, "messages that are published a second"),
        ("size", int, "bytes of a message"),
        ("fan-out", float, "pipes that each message is for"),
        ("batch", int, "messages in a request, and in an answer; with 1 each is waited for"),
        ("readers", int, "requests and streams that wait at any time"),
        ("reread-seconds", float, "the nodes' option of that name"),
        ("domains", int, "domains that all this is spread over evenly"),
        ("stored", int, "messages that are kept at a time"),
        ("headroom", float, "share of a core that may be in use"),
    ):
        default = getattr(plain, name.replace("-", "_"))
        help = f"{text} (default: {default:g})"
        parser.add_argument(f"--{name}", type=kind, default=default, help=help, metavar="N")
    parser.add_argument("--nodes", type=int, help="with so many nodes", metavar="N")
    parser.add_argument("--shards", type=int, default=1, help="on so many primaries", metavar="N")
    parser.add_argument("--slower", type=float, default=1.0, help="cores that are so slow")
    asked = vars(parser.parse_args(arguments))
    nodes, shards, slower = asked.pop("nodes"), asked.pop("shards"), asked.pop("slower")
    traffic = Traffic(**asked)
    if min(traffic.size, traffic.batch, traffic.domains, traffic.reread_seconds, slower) <= 0:
        parser.error("size, batch, domains, reread-seconds and slower are more than nothing")
    costs = Costs.load().scaled(slower)
    found = use(costs, traffic, nodes, shards) if nodes else needed(costs, traffic)
    print("\n".join(told(found) if found else refused(costs, traffic)))
    for line in advice(costs, traffic):
        print(line)


def told(found: Use) -> Iterator[str]:
    yield f"nodes                    {found.nodes:8} (one core each)"
    yield f"  busy                   {found.node:8.0%}"
    yield f"  memory of each         {found.node_memory / 1e6:8.0f} MB"
    yield f"Redis primaries          {found.shards:8} (one core each)"
    yield f"  busy                   {min(found.redis, 1):8.0%}"
    yield f"  of what it can do      {found.full:8.0%}"
    yield f"  memory of each         {found.redis_memory / 1e6:8.0f} MB, and what is kept beside"
    yield f"calls that go together   {found.group:8.1f}"
    yield f"a call to Redis          {found.milliseconds:8.1f} ms"
    yield f"network of all nodes     {found.network / 1e6:8.1f} MB/s"
    yield f"what bounds it first      {found.bottleneck}"


def refused(costs: Costs, traffic: Traffic) -> Iterator[str]:
    """Say what one domain can take, and how many domains would do."""
    yield "This is more than so many domains can take: each is on one Redis, which uses one core."
    most = max(ceiling(costs, traffic, nodes, traffic.domains) for nodes in (2, 4, 10, 20, 50, 100))
    yield f"They take {most:,.0f} messages a second of this kind, beside the readers."
    domains = traffic.domains
    while domains < MOST_DOMAINS:
        domains *= 2
        found = needed(costs, replace(traffic, domains=domains))
        if found:
            yield f"With {domains} domains: {found.shards} primaries and {found.nodes} nodes."
            break
    if traffic.batch == 1:
        found = needed(costs, replace(traffic, batch=100))
        if found:
            yield (
                f"Published and read by the hundred, {found.nodes} nodes and {found.shards} "
                "primaries would do."
            )


def advice(costs: Costs, traffic: Traffic) -> Iterator[str]:
    idle = traffic.readers / traffic.reread_seconds * costs.redis["reread"] / 1e6
    if idle > MUCH:
        yield (
            f"Readers who only wait take {idle:.1f} cores of Redis: with --reread-seconds 60 it "
            f"would be {idle * traffic.reread_seconds / 60:.2f}."
        )


if __name__ == "__main__":
    main()
