"""Can a primary be what the nodes need: its role, its replicas, the state that is on it."""

from collections.abc import Sequence

from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, setting, unseen
from restms_cluster.formats import FORMAT
from restms_cluster.keys import domain_key
from restms_cluster.levels import Level
from restms_cluster.visits import Visit, number


def check_role(seen: Seen, _: Wanted) -> Finding:
    """Look whether the server that was named takes writes."""
    role = seen.hello.get("role", "")
    if seen.is_primary:
        return ok("role", "primary")
    return Finding(
        "role",
        Grade.FAILURE,
        f"the server is a {'replica' if role == 'slave' else role or 'server of no role'}",
        ("name the primary, or Sentinels (redis+sentinel://) that know it",),
        "Nodes cannot write here.",
    )


def check_replicas(seen: Seen, wanted: Wanted) -> Finding:
    """Look whether a primary has the replicas that are wanted."""
    word, most = "replicas", seen.count("connected_slaves")
    if most is None:
        return unseen(word, "its replicas")
    there = sum("state=online" in seen.info.get(f"slave{n}", "") for n in range(most))
    found, least = f"{there} replicas follow", wanted.durability.replicas
    if wanted.durability.wants(Level.REPLICAS):
        if there < least:
            return Finding(
                word,
                Grade.FAILURE,
                f"{found}, and publishers are promised {least}",
                ("start replicas, or see in INFO replication why they do not follow",),
                "Publishing to feeds of that level is answered 503 too_few_replicas.",
            )
        if there > least:
            return Finding(
                word,
                Grade.WARNING,
                f"{found}, and only {least} of them are waited for",
                (f"the nodes: --replicas {there}",),
                "After a failover the one that takes over may be one that did not have a message.",
            )
        return ok(word, found)
    if there or seen.kind == "server":
        return ok(word, found)
    return Finding(
        word,
        Grade.WARNING,
        found,
        ("start replicas of this primary",),
        "Nothing can take over when it is lost.",
    )


def check_least_replicas(seen: Seen, _: Wanted) -> Finding:
    """Look whether a primary that was cut off goes on taking writes."""
    word, least = "min-replicas-to-write", seen.count("min-replicas-to-write")
    if least is None:
        return unseen(word, "how many replicas it needs to take a write")
    if least:
        return ok(word, f"a primary without {least} replicas takes no writes")
    return Finding(
        word,
        Grade.HINT,
        "a primary that was cut off goes on taking writes",
        (*setting(word, "1"), *setting("min-replicas-max-lag", "5")),
        "What it takes until it learns of its successor is lost, though it was answered 200. In "
        "return nothing can be published while no replica follows.",
    )


async def check_format(visit: Visit, domains: Sequence[str]) -> Finding:
    """Look whether the state is of a format that this version knows."""
    answers = await visit.ask(*(("HGET", domain_key(name), "format") for name in domains))
    if any(isinstance(answer, Exception) for answer in answers):
        return unseen("format", "the format of the state")
    found = {name: number(answer) or 0 for name, answer in zip(domains, answers, strict=True)}
    newer = [f"{name} ({format})" for name, format in found.items() if format > FORMAT]
    if not newer:
        return ok("format", f"this version knows the state's format ({FORMAT} at most)")
    return Finding(
        "format",
        Grade.FAILURE,
        f"the state is of a newer format than {FORMAT}: {', '.join(newer)}",
        ("install the newer version of restms here, too",),
        "Nodes of this version do not start on it.",
    )
