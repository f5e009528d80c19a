"""The typed stubs of the scripts: one class each, its fields the script's arguments.

A Grouped one is one of the calls that the script takes at a time. Empty `versions` and
`unmodified` ask for nothing; `idle` and `keep` are in milliseconds; `bounds` are most messages
of a pipe, most of a feed's queue, and most redeliveries; `quota` is the most bytes of the
domain, or 0. What a script does stands at its head, in `scripts/`. The stubs of those about
contents are in `transitions_content.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

from restms_cluster import transitions_content
from restms_cluster.scripts import Argument, Grouped, Transition, check


@dataclass(frozen=True, slots=True)
class DomainConfigure(Transition):
    title: str
    feeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DomainEnter(Transition):
    run: str
    rested: str
    format: int


@dataclass(frozen=True, slots=True)
class DomainRead(Transition):
    reads: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class DomainSweep(Transition):
    node: str
    lease: int
    pipes: int
    idle: int
    bounds: str


@dataclass(frozen=True, slots=True)
class DomainMeasure(Transition):
    node: str
    lease: int
    state: str | bytes = ""
    names: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class DomainSurvey(Transition):
    reads: ClassVar[bool] = True

    node: str
    state: str | bytes


@dataclass(frozen=True, slots=True)
class DomainDue(Transition):
    node: str
    bounds: str


@dataclass(frozen=True, slots=True)
class HintsRequest(Transition):
    keep: int


@dataclass(frozen=True, slots=True)
class FeedCreate(Transition):
    feed: str
    type: str
    title: str
    license: str
    dead_letter: str
    dedup: str
    most: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class FeedRead(Transition):
    reads: ClassVar[bool] = True

    feed: str


@dataclass(frozen=True, slots=True)
class FeedUpdate(Transition):
    feed: str
    versions: str
    unmodified: str
    type: str
    dead_letter: str
    by: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedDelete(Transition):
    feed: str
    versions: str
    unmodified: str
    bounds: str
    by: str = "anybody"


@dataclass(frozen=True, slots=True)
class PipeCreate(Transition):
    pipe: str
    name: str
    join: str
    type: str
    title: str
    most: int
    idle: int


@dataclass(frozen=True, slots=True)
class PipeRead(Transition):
    reads: ClassVar[bool] = True

    pipe: str
    most: int
    idle: int


@dataclass(frozen=True, slots=True)
class PipeUpdate(Transition):
    pipe: str
    versions: str
    unmodified: str
    type: str
    idle: int
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PipeDelete(Transition):
    pipe: str
    versions: str
    unmodified: str
    bounds: str


@dataclass(frozen=True, slots=True)
class PipeLeave(Transition):
    pipe: str
    bounds: str


@dataclass(frozen=True, slots=True)
class JoinCreate(Transition):
    pipe: str
    join: str
    feed: str
    type: str
    address: str
    headers: bytes
    match: str
    joins: int
    idle: int
    bounds: str


@dataclass(frozen=True, slots=True)
class JoinRead(Transition):
    reads: ClassVar[bool] = True

    join: str
    idle: int


@dataclass(frozen=True, slots=True)
class JoinDelete(Transition):
    join: str
    versions: str
    unmodified: str
    idle: int
    bounds: str


@dataclass(frozen=True, slots=True)
class MessagePublish(Grouped):
    shared: ClassVar[tuple[str, ...]] = ("bounds", "deliveries", "quota")

    feed: str
    bounds: str
    deliveries: int
    nonce: str
    once: str
    keep: int
    runs: tuple[Argument, ...]
    quota: int = 0

    @property
    def weight(self) -> int:
        """As many as messages, and a little for each run of them."""
        return len(self.runs)


@dataclass(frozen=True, slots=True)
class MessageRead(Grouped):
    reads: ClassVar[bool] = True
    shared: ClassVar[tuple[str, ...]] = ("embed", "idle")

    pipe: str
    number: int
    embed: int
    idle: int


@dataclass(frozen=True, slots=True)
class MessagePull(Transition):
    reads: ClassVar[bool] = True  # again, it finds what it took

    pipe: str
    number: int
    embed: int
    waits: int
    bounds: str


@dataclass(frozen=True, slots=True)
class MessagesRead(Transition):
    reads: ClassVar[bool] = True

    pipe: str
    after: int
    most: int
    room: int
    embed: int
    idle: int


@dataclass(frozen=True, slots=True)
class MessageDelete(Grouped):
    shared: ClassVar[tuple[str, ...]] = ("idle",)

    pipe: str
    number: int
    versions: str
    unmodified: str
    idle: int


@dataclass(frozen=True, slots=True)
class RateTake(Grouped):
    shared: ClassVar[tuple[str, ...]] = ("time",)

    time: str
    bucket: str
    quota: int
    window: int
    cost: int

    @property
    def weight(self) -> int:
        """About as much as a message."""
        return 1


TRANSITIONS: tuple[type[Transition], ...] = tuple(
    stub
    for stub in (*globals().values(), *vars(transitions_content).values())
    if isinstance(stub, type) and issubclass(stub, Transition) and stub not in (Transition, Grouped)
)

for _stub in TRANSITIONS:
    check(_stub)
