"""What a worker is told by its parent: an errand, which it may be of another version to do.

A version that is installed while a node runs is what its next workers run. So nothing here may
change but by addition, and only a worker of the parent's own version reads the pickled
settings: another makes its own, of the same flags, environment and file.
"""

import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import IO, TypedDict

from restms_node.config import Settings
from restms_node.options import load
from restms_node.version import VERSION


class Errand(TypedDict):
    """What is told; `redis` is where the state is, be it the embedded server's."""

    version: str
    path: list[str]
    settings: bytes
    flags: dict[str, str]
    redis: str


def made(settings: Settings, flags: Mapping[str, str]) -> bytes:
    """Return what a worker is to be told; `flags` are the options of the command line."""
    told = Errand(
        version=VERSION,
        path=sys.path,
        settings=pickle.dumps(settings),
        flags=dict(flags),
        redis=settings.redis,
    )
    return pickle.dumps(told)


def read(file: IO[bytes]) -> Errand:
    """Return what the parent tells."""
    told: Errand = pickle.load(file)  # noqa: S301, the parent wrote it
    return told


def settings_of(told: Errand) -> Settings:
    """Return the settings; StartError where another version's cannot be made any more."""
    if told["version"] == VERSION:
        same: Settings = pickle.loads(told["settings"])  # noqa: S301, the parent wrote it
        return same
    return replace(load(told["flags"], os.environ), redis=told["redis"])
