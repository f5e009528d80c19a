"""Do the hints arrive that wake waiting readers? A probe tells, from one end to the other."""

import secrets
from collections.abc import Sequence

import trio

from restms_cluster.errors import StateUnavailableError
from restms_cluster.findings import Finding, Grade, Seen, Wanted, ok, setting, unseen
from restms_cluster.keys import probe_key
from restms_cluster.link import Answer, Link, pack
from restms_cluster.notifications import PROBE, PROBE_MILLISECONDS, PROBE_SECONDS, SETTING
from restms_cluster.visits import Visit

FLAGS = "Kt"


async def check_hints(
    visit: Visit, seen: Seen, wanted: Wanted, domains: Sequence[str]
) -> list[Finding]:
    """Look whether hints arrive from a primary. Raises StateUnavailableError."""
    if not wanted.writes:
        flags = seen.config.get(SETTING)
        if flags is None:
            events = unseen("notifications", "of what it notifies")
        else:
            events = _by_flags(flags)
        return [events, Finding("published", Grade.UNSEEN, "a probe would write")]
    key = probe_key(domains[0], f"doctor-{secrets.token_hex(4)}")
    event, published, refusal = await _probe(visit, key)
    if refusal and wanted.user is not None:  # who asks is not who is to be able to
        return [Finding(word, Grade.UNSEEN, refusal) for word in ("notifications", "published")]
    if refusal:
        return [
            Finding("notifications", Grade.UNSEEN, "the probe could not be run"),
            _of_published(refusal),
        ]
    return [
        _of_events(seen, arrived=event),
        _of_published("" if published else "what is published does not arrive"),
    ]


async def _probe(visit: Visit, key: str) -> tuple[bool, bool, str]:
    """Change a stream, and publish; tell whether one hears of the event, and of what is published.

    Where the server refuses that, it tells why. The stream expires by itself.
    """
    channels = [f"__keyspace@{visit.address.db}__:{key}".encode(), key.encode()]
    arrived: set[bytes] = set()
    async with await Link.open(visit.address) as link:
        with trio.move_on_after(PROBE_SECONDS):
            await link.send(b"".join(pack("SUBSCRIBE", channel) for channel in channels))
            answers = 0
            while answers < len(channels):
                answers += len(await link.receive())
        (done,) = await visit.ask(("EVAL", PROBE, 1, key, PROBE_MILLISECONDS, 1))
        if isinstance(done, Exception):
            return False, False, f"the probe is refused: {done}"
        with trio.move_on_after(PROBE_SECONDS):
            while len(arrived) < len(channels):
                arrived.update(_channels_of(await link.receive()))
    return channels[0] in arrived, channels[1] in arrived, ""


def _channels_of(replies: list[Answer]) -> list[bytes]:
    found = []
    for reply in replies:
        match reply:
            case [b"message", bytes(channel), b"xadd"]:
                found.append(channel)
            case StateUnavailableError():
                raise reply
    return found


def _of_events(seen: Seen, *, arrived: bool) -> Finding:
    word, flags = "notifications", seen.config.get(SETTING)
    if arrived:
        return ok(word, f"keyspace events of streams arrive ({SETTING} {flags or 'is not told'})")
    if flags is not None and "K" in flags and _of_streams(flags):
        return Finding(
            word,
            Grade.WARNING,
            f"keyspace events of streams do not arrive, though {SETTING} is {flags}",
            ("see the finding on channels, and whether a proxy stands in between",),
            "The scripts publish the hints themselves, which costs Redis more.",
        )
    return _missing(flags)


def _by_flags(flags: str) -> Finding:
    if "K" in flags and _of_streams(flags):
        return ok("notifications", f"{SETTING} is {flags}; whether they arrive was not tried")
    return _missing(flags)


def _missing(flags: str | None) -> Finding:
    return Finding(
        "notifications",
        Grade.WARNING,
        f"keyspace events of streams do not arrive ({SETTING} is {flags or 'empty or not told'})",
        setting(SETTING, f"{flags or ''}{FLAGS}" if "A" not in (flags or "") else f"{flags}K"),
        "Nodes set this themselves where they may, until the server is started again. Else the "
        "scripts publish the hints, which costs Redis more.",
    )


def _of_streams(flags: str) -> bool:
    return "A" in flags or "t" in flags  # A stands for all classes


def _of_published(trouble: str) -> Finding:
    if not trouble:
        return ok("published", "what is published arrives")
    return Finding(
        "published",
        Grade.FAILURE,
        trouble,
        ("see the findings on commands and channels, and whether a proxy stands in between",),
        "Waiting readers are not told of messages: they find them seconds later.",
    )
