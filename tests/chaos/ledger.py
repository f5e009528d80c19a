"""What became of every message, and whether that is what was promised."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import trio

MOST_TOLD = 10
COUNTED = ("delivered", "read again", "doubled", "lost, as it may be")
"""What has its place in the report; the other counts come after it."""


@dataclass(slots=True)
class Sent:
    """A message that was sent: who must get it (all of them, or one), and what was answered."""

    to: frozenset[str]
    one: bool
    exact: bool
    ordered: bool
    at: float
    acknowledged: float | None = None
    routed: bool = True
    refused: str = ""
    tries: int = 0
    got: set[str] = field(default_factory=set)

    @property
    def missing(self) -> bool:
        return not self.got if self.one else not self.to <= self.got


@dataclass
class Window:
    """A time of which Redis may have lost what it was told; it ends when that is known.

    Unless it is `lossy` the loss of an acknowledged message is not allowed. That of a DELETE is,
    and so is that of what Redis remembers of a publish that it did not acknowledge.
    """

    why: str
    lossy: bool
    fault: float
    begins: float
    ends: float = math.inf
    lost: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        """Tell how many were lost, and in how many seconds after the fault they were answered."""
        told = f"{len(self.lost)} lost by {self.why} at {self.fault:.2f}"
        if not self.lost:
            return told
        first, last = min(self.lost) - self.fault, max(self.lost) - self.fault
        return f"{told}: answered {first:+.2f} to {last:+.2f} s from it"


def identity(publisher: str, number: int) -> str:
    """Return a message's message_id."""
    return f"{publisher}.{number}"


def text_of(name: str) -> str:
    """Return what a message with that message_id carries."""
    number = int(name.rpartition(".")[2])
    return f"{name} " * (1 + number % 50)


class Ledger:
    """The account of a run. Times are seconds since its start."""

    def __init__(self) -> None:
        self._start = trio.current_time()
        self.sent: dict[str, Sent] = {}
        self.windows: list[Window] = []
        self.timeline: list[str] = []
        self.counts: Counter[str] = Counter()
        self.last_delivery: dict[str, float] = {}
        self._faults: dict[str, list[str]] = defaultdict(list)
        self._doubtful: list[tuple[float, str, str]] = []
        self._places: dict[str, set[str]] = defaultdict(set)  # message_id → hrefs
        self._named: dict[str, str] = {}  # href → message_id
        self._freed: set[str] = set()
        self._newest: dict[tuple[str, str], int] = {}

    def now(self) -> float:
        return trio.current_time() - self._start

    def note(self, text: str) -> None:
        """Write something into the time line."""
        self.timeline.append(f"{self.now():8.2f}  {text}")

    def violation(self, kind: str, text: str) -> None:
        """Write down what must not be."""
        self._faults[kind].append(f"{self.now():.2f}: {text}")

    def may_lose(self, why: str, lag: float, *, lossy: bool) -> Window:
        """Say that Redis may lose what it was told in the last `lag` seconds, and from now on."""
        self.windows.append(Window(why, lossy, self.now(), self.now() - lag))
        return self.windows[-1]

    # What publishers tell

    def publishes(
        self, name: str, to: frozenset[str], *, one: bool, exact: bool, ordered: bool = True
    ) -> None:
        """A message is sent, once more perhaps. `exact`: a repeat of it may not route it twice."""
        sent = self.sent.get(name)
        if sent is None:
            sent = self.sent[name] = Sent(to, one, exact, ordered, self.now())
        sent.tries += 1

    def acknowledged(self, name: str, *, routed: bool = True) -> None:
        """A message was answered with 200; not `routed`: nobody was joined, it was said."""
        self.sent[name].acknowledged = self.now()
        self.sent[name].routed = routed

    def refused(self, name: str, why: str) -> None:
        """A message was answered with a refusal that no repeat will mend."""
        self.sent[name].refused = why

    # What readers tell

    def delivered(self, pipe: str, name: str, href: str, text: str) -> None:
        """A reader got a message."""
        self.counts["delivered"] += 1
        self.last_delivery[pipe] = self.now()
        sent = self.sent.get(name)
        if sent is None:
            self.violation("unknown", f"{pipe} got {name}, which nobody has sent")
            return
        if text != text_of(name):
            self.violation("damaged", f"{pipe} got {name} with another content")
        if pipe not in sent.to:
            self.violation("astray", f"{pipe} got {name}, which is not for it")
        if self._named.setdefault(href, name) != name:
            self.violation("renamed", f"{href} was {self._named[href]} and is {name}")
        if href in self._freed:
            self._unless_lossy("returned", f"{name} came again after its DELETE, to {pipe}: {href}")
        if href in self._places[name]:
            self.counts["read again"] += 1
        else:
            self._new_place(pipe, name, sent, href)

    def freed(self, pipe: str, hrefs: Iterable[str]) -> None:
        """A reader's DELETE of these was answered with 200."""
        self._freed.update(hrefs)

    def _new_place(self, pipe: str, name: str, sent: Sent, href: str) -> None:
        places = self._places[name]
        if sent.got if sent.one else pipe in sent.got:
            self.counts["doubled"] += 1
            if sent.exact:
                self._unless_lossy("twice", f"{pipe} got {name} at {href}, it was {places}")
        places.add(href)
        if pipe in sent.got:
            return
        sent.got.add(pipe)
        publisher, _, number = name.rpartition(".")
        newest = self._newest.get((pipe, publisher), 0)
        if int(number) < newest and not sent.ordered:
            self.counts["overtaken, as it may be"] += 1
        elif int(number) < newest:
            self._unless_lossy("misordered", f"{pipe} got {name} after {publisher}.{newest}")
        self._newest[pipe, publisher] = max(newest, int(number))

    def _unless_lossy(self, kind: str, text: str) -> None:
        """Keep what is a violation unless Redis has lost something before; `close` decides."""
        self._doubtful.append((self.now(), kind, text))

    # The end

    def owed(self) -> list[str]:
        """Return the messages that were acknowledged, have not come yet, and must."""
        return [name for name in self._missing() if not self._may_be_lost(name)]

    def _missing(self) -> list[str]:
        return [
            name
            for name, sent in self.sent.items()
            if sent.acknowledged is not None and sent.routed and sent.missing
        ]

    def _may_be_lost(self, name: str) -> Window | None:
        """Return the last of the windows that a message was answered in."""
        at = self.sent[name].acknowledged or 0.0
        found = [one for one in self.windows if one.lossy and one.begins <= at <= one.ends]
        return found[-1] if found else None

    def close(self) -> None:
        """Turn what is owed into losses: allowed ones, or violations."""
        for when, kind, text in self._doubtful:
            excused = [window for window in self.windows if window.begins <= when]
            if any(window.lossy or kind != "misordered" for window in excused):
                self.counts[f"{kind}, after a loss"] += 1
            else:
                self._faults[kind].append(f"{when:.2f}: {text}")
        self._doubtful.clear()
        for name in self._missing():
            sent = self.sent[name]
            if window := self._may_be_lost(name):
                self.counts["lost, as it may be"] += 1
                window.lost.append(sent.acknowledged or 0.0)
                continue
            missing = sorted(sent.to) if sent.one else sorted(sent.to - sent.got)
            self.violation(
                "lost",
                f"{name} for {', '.join(missing)}: sent {sent.at:.2f}, answered "
                f"{sent.acknowledged:.2f}, {sent.tries} tries",
            )

    @property
    def broken(self) -> bool:
        """Whether anything was not as promised."""
        return any(self._faults.values())

    def report(self) -> str:
        """Return the account in words and figures."""
        sent = self.sent.values()
        unknown = [one for one in sent if one.acknowledged is None and not one.refused]
        figures = {
            "published": len(self.sent),
            "acknowledged (200)": sum(one.acknowledged is not None for one in sent),
            "acknowledged, nobody joined": sum(not one.routed for one in sent),
            "refused": sum(bool(one.refused) for one in sent),
            "unknown (no answer)": len(unknown),
            "repeats": sum(one.tries - 1 for one in sent),
            **{name: self.counts[name] for name in COUNTED},
            **{name: len(self._faults[name]) for name in ("lost", "misordered", "twice")},
            **{name: self.counts[name] for name in sorted(self.counts) if name not in COUNTED},
        }
        lines = [f"{name:<34}{count:>9}" for name, count in figures.items()]
        times = sorted(one.acknowledged - one.at for one in sent if one.acknowledged is not None)
        if times:
            told = [f"{share:g} % {_share(times, share):.2f} s" for share in (50, 99, 99.9)]
            lines.append(f"first try to 200: {', '.join(told)}, longest {times[-1]:.1f} s")
        lines += [str(window) for window in self.windows]
        for kind, found in self._faults.items():
            if found:
                lines.append(f"NOT AS PROMISED: {kind}, {len(found)} times")
                lines += [f"    {text}" for text in found[:MOST_TOLD]]
        return "\n".join(lines)


def _share(ordered: list[float], percent: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
