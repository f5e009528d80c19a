"""The typed stubs of the scripts about contents; see `transitions.py`."""

from dataclasses import dataclass
from typing import ClassVar

from restms_cluster.scripts import Transition


@dataclass(frozen=True, slots=True)
class ContentStage(Transition):
    feed: str
    content: str
    type: str
    size: int
    keep: int
    once: str
    once_milliseconds: int
    quota: int
    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ContentUpload(Transition):
    feed: str
    content: str
    place: int
    keep: int
    chunk: bytes
    quota: int = 0


@dataclass(frozen=True, slots=True)
class ContentFinish(Transition):
    feed: str
    content: str
    type: str
    size: int
    place: int
    keep: int
    once: str
    once_milliseconds: int
    chunk: bytes
    quota: int = 0


@dataclass(frozen=True, slots=True)
class ContentAbandon(Transition):
    content: str


@dataclass(frozen=True, slots=True)
class ContentRead(Transition):
    reads: ClassVar[bool] = True

    content: str
    most: int


@dataclass(frozen=True, slots=True)
class ChunkRead(Transition):
    reads: ClassVar[bool] = True

    content: str
    first: int
    last: int
    pipe: str
    idle: int


@dataclass(frozen=True, slots=True)
class ContentDelete(Transition):
    content: str
    versions: str
    unmodified: str


@dataclass(frozen=True, slots=True)
class PartRead(Transition):
    reads: ClassVar[bool] = True

    pipe: str
    number: int
    part: int
    most: int
    idle: int


@dataclass(frozen=True, slots=True)
class PartDelete(Transition):
    pipe: str
    number: int
    part: int
    versions: str
    unmodified: str
    idle: int
