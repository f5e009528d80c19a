"""How servers stand together: their clocks, a cluster's slots, Sentinels."""

from collections.abc import Sequence

from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, setting, unseen
from restms_cluster.informants import Informants
from restms_cluster.servers import Servers
from restms_cluster.slots import SLOTS
from restms_cluster.topology import Sentinels
from restms_cluster.visits import Visit, number, pairs, text

CLOCK_SECONDS = 1.0
LEAST_SENTINELS = 3


def check_coverage(seen: Seen, _: Wanted) -> Finding:
    """Look whether one lost shard stops all domains."""
    word, full = "cluster-require-full-coverage", seen.config.get("cluster-require-full-coverage")
    if full is None:
        return unseen(word, "whether it serves while another shard is lost")
    if full == "no":
        return ok(word, "a lost shard stops only its own domains")
    return Finding(
        word,
        Grade.WARNING,
        "a lost shard stops all domains",
        setting(word, "no"),
        "The others could go on.",
    )


async def check_moves(visit: Visit) -> Finding:
    """Look whether slots are being moved key by key. Raises StateUnavailableError."""
    (told,) = await visit.ask(("CLUSTER", "NODES"))
    if isinstance(told, Exception):
        return unseen("cluster-moves", "which slots it moves")
    own = [line.split(" ") for line in text(told).splitlines() if "myself" in line]
    moving = [part.strip("[]") for line in own for part in line[8:] if part.startswith("[")]
    if not moving:
        return ok("cluster-moves", "no slot is being moved")
    slots = ", ".join(part.partition("-")[0] for part in moving[:10])
    return Finding(
        "cluster-moves",
        Grade.WARNING,
        f"{len(moving)} slots are being moved ({slots})",
        ("end the move; if it was broken off: redis-cli --cluster fix HOST:PORT",),
        "The domains in them are out of service (503) until then.",
    )


def check_slots(servers: Sequence[Servers]) -> Finding:
    """Look whether each slot of a cluster is served."""
    served = len(frozenset().union(*(one.slots or () for one in servers)))
    if served == SLOTS:
        return ok("cluster-slots", f"all {SLOTS} slots are served, by {len(servers)} primaries")
    return Finding(
        "cluster-slots",
        Grade.FAILURE,
        f"{SLOTS - served} slots are served by nobody",
        ("redis-cli --cluster fix HOST:PORT, or bring the primaries back that had them",),
        "Domains in them are out of service; with cluster-require-full-coverage, all are.",
    )


def check_clocks(seen: Sequence[Seen]) -> Finding:
    """Look whether the servers' clocks agree."""
    ahead = [one.ahead for one in seen]
    apart = max(ahead) - min(ahead)
    found = f"the servers' clocks are {apart:.2f} seconds apart"
    if apart <= CLOCK_SECONDS:
        return ok("clocks", found)
    return Finding(
        "clocks",
        Grade.WARNING,
        found,
        ("run chrony or systemd-timesyncd on all of them",),
        "After a failover delayed messages come early or late, and numbers of messages leap by "
        "the time.",
    )


async def check_sentinels(sentinels: Sentinels) -> list[Finding]:
    """Look whether the Sentinels can carry out a failover."""
    informants, name = Informants(), sentinels.master
    try:
        answers = await informants.ask(
            sentinels.addresses, ("SENTINEL", "CKQUORUM", name), ("SENTINEL", "MASTER", name)
        )
    finally:
        await informants.aclose()
    others = [number(pairs(facts).get("num-other-sentinels")) or 0 for _, facts in answers.values()]
    there = 1 + max(others, default=-1)
    refused = [str(usable) for usable, _ in answers.values() if isinstance(usable, Exception)]
    silent = [str(one) for one in sentinels.addresses if one not in answers]
    return [check_quorum(refused, silent), check_count(there)]


def check_quorum(refused: Sequence[str], silent: Sequence[str]) -> Finding:
    """Look at what Sentinels say who cannot agree on a failover, and at who says nothing."""
    if refused:
        return Finding(
            "sentinel-quorum",
            Grade.FAILURE,
            refused[0],
            ("bring the other Sentinels back, or SENTINEL SET NAME quorum N",),
            "When the primary is lost, nothing takes over.",
        )
    if silent:
        return Finding(
            "sentinel-quorum",
            Grade.WARNING,
            f"no answer from {', '.join(silent)}",
            ("bring it back, or take it out of the URL",),
            "There are fewer to agree on a failover.",
        )
    return ok("sentinel-quorum", "enough Sentinels can agree on a failover")


def check_count(there: int) -> Finding:
    """Look whether there are Sentinels enough."""
    if there >= LEAST_SENTINELS:
        return ok("sentinel-count", f"{there} Sentinels")
    return Finding(
        "sentinel-count",
        Grade.WARNING,
        f"{there} Sentinels",
        (f"run {LEAST_SENTINELS}, on machines of their own",),
        "With fewer, one that is lost makes a failover impossible.",
    )
