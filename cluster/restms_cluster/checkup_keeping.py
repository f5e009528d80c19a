"""Does a server keep what it is given: its files, its memory, what it throws away."""

from collections.abc import Callable

from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, setting, unseen
from restms_cluster.levels import Level

FULL, NEARLY_FULL = 1.0, 0.9
MEMORY_SHARE = 0.6  # of a machine, for a server that forks: what is proposed as a bound


def check_append_only(seen: Seen, wanted: Wanted) -> Finding:
    """Look whether there is an append-only file."""
    word, kept = "appendonly", seen.config.get("appendonly")
    if kept is None:
        kept = {"1": "yes", "0": "no"}.get(seen.info.get("aof_enabled", ""))
    if kept is None:
        return unseen(word, "whether it has an append-only file")
    if kept == "yes":
        return ok(word, "there is an append-only file")
    grade = Grade.FAILURE if wanted.durability.wants(Level.DISK) else Grade.WARNING
    return Finding(
        word,
        grade,
        "there is no append-only file",
        setting("appendonly", "yes"),
        "When the server ends, all messages are lost, and pipes with them.",
    )


def check_flushing(seen: Seen, wanted: Wanted) -> Finding:
    """Look whether the file is flushed as often as was promised."""
    word, often = "appendfsync", seen.config.get("appendfsync")
    if wanted.durability.wants(Level.DISK):
        if often == "always":
            return ok(word, "each write is flushed before it is answered")
        return Finding(
            word,
            Grade.FAILURE,
            f"it is {often}" if often else "the server does not tell this user",
            setting("appendfsync", "always") if often else ("allow CONFIG GET to the nodes",),
            "The level disk promises that a message is on the disk; nodes do not start without.",
        )
    if often is None:
        return unseen(word, "how often it flushes its file")
    if often == "no":
        return Finding(
            word,
            Grade.WARNING,
            "the system flushes the file when it likes to",
            setting("appendfsync", "everysec"),
            "A machine that crashes loses the last half a minute, and not the last second.",
        )
    return ok(word, f"the file is flushed: {often}")


def check_rewriting(seen: Seen, wanted: Wanted) -> Finding:
    """Look whether it is flushed while it is rewritten, too."""
    word, left_out = "no-appendfsync-on-rewrite", seen.config.get("no-appendfsync-on-rewrite")
    if left_out is None:
        return unseen(word, "whether it flushes its file while it rewrites it")
    if left_out == "no":
        return ok(word, "the file is flushed while it is rewritten, too")
    grade = Grade.FAILURE if wanted.durability.wants(Level.DISK) else Grade.WARNING
    return Finding(
        word,
        grade,
        "the file is not flushed while it is rewritten",
        setting("no-appendfsync-on-rewrite", "no"),
        "A machine that crashes meanwhile loses all that came since the rewrite began.",
    )


def check_snapshots(seen: Seen, _: Wanted) -> Finding:
    """Look whether it can write snapshots, where it is to."""
    word, status = "snapshots", seen.info.get("rdb_last_bgsave_status")
    if status is None:
        return unseen(word, "whether its last snapshot was well")
    if status == "ok":
        return ok(word, "the last snapshot was well, or there was none")
    stops = seen.config.get("stop-writes-on-bgsave-error") != "no" and seen.config.get("save") != ""
    return Finding(
        word,
        Grade.FAILURE if stops else Grade.WARNING,
        "the last snapshot could not be written",
        (
            "see the server's log for the reason: a full disk, or a folder that is not its own",
            *setting("save", ""),
        ),
        "The server refuses all writes until one is well (stop-writes-on-bgsave-error): "
        "publishing is 503. With an append-only file no snapshots are needed."
        if stops
        else "Replicas cannot copy the data, nor can a backup be made.",
    )


def check_files(seen: Seen, _: Wanted) -> Finding:
    """Look whether it can write its append-only file."""
    word, written = "file-writes", seen.info.get("aof_last_write_status")
    if written is None:
        return unseen(word, "whether it can write its append-only file")
    if written != "ok":
        return Finding(
            word,
            Grade.FAILURE,
            "the append-only file cannot be written",
            ("make room on its disk; see the server's log for the reason",),
            "The server refuses all writes: publishing is 503.",
        )
    if seen.info.get("aof_last_bgrewrite_status", "ok") != "ok":
        return Finding(
            word,
            Grade.WARNING,
            "the append-only file could not be rewritten",
            ("make room on its disk, and memory for the fork; see the server's log",),
            "It grows without end, and a restart takes longer and longer.",
        )
    return ok(word, "the append-only file is written and rewritten, if there is one")


def check_eviction(seen: Seen, _: Wanted) -> Finding:
    """Look whether it throws anything away."""
    word = "maxmemory-policy"
    policy = seen.config.get(word, seen.info.get("maxmemory_policy"))
    if policy is None:
        return unseen(word, "what it throws away when its memory is full")
    if policy == "noeviction":
        return ok(word, "nothing is thrown away")
    return Finding(
        word,
        Grade.FAILURE,
        f"it is {policy}",
        setting(word, "noeviction"),
        "A key that is thrown away is a lost message, or half a pipe. With noeviction, publishing "
        "is refused (503) while memory is full, and reading goes on.",
    )


def check_memory(seen: Seen, _: Wanted) -> Finding:
    """Look whether its memory is bounded, and whether there is room."""
    word, most, used = "maxmemory", seen.count("maxmemory"), seen.count("used_memory")
    if most is None:
        return unseen(word, "how much memory it may take")
    if most == 0:
        machine = seen.count("total_system_memory")
        value = f"{int(machine * MEMORY_SHARE) >> 20}mb" if machine else "(bytes)"
        return Finding(
            word,
            Grade.WARNING,
            "there is no bound",
            setting(word, value),
            "When the machine's memory is full the system kills the server. A bound is told to "
            f"publishers (503) instead. Proposed is {MEMORY_SHARE:.0%} of the machine's memory: a "
            "rewrite of its file copies some, and a container may have less.",
        )
    share = (used or 0) / most
    found = f"{share:.0%} of {most >> 20:,} MiB is in use"
    if share < NEARLY_FULL:
        return ok(word, found)
    return Finding(
        word,
        Grade.FAILURE if share >= FULL else Grade.WARNING,
        found,
        (
            "see `restms inspect pipes` for what takes it: readers that have gone, or are slow",
            f"give it more memory: CONFIG SET maxmemory {2 * most}",
        ),
        "When it is full, publishing is refused (503 full) until readers have made room.",
    )


CHECKS: tuple[Callable[[Seen, Wanted], Finding], ...] = (
    check_append_only,
    check_flushing,
    check_rewriting,
    check_snapshots,
    check_files,
    check_eviction,
    check_memory,
)
