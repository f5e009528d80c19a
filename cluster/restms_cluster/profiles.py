"""A profile: a set of feed and pipe types with their routing (2/RestMS).

A profile is one module and its Lua. The Lua adds to two tables: `feed_types`,
by type: the join types it takes, whether joins have headers, and functions
that add a join to the feed's index, take it out, and find the pipes that a
message reaches; and `pipe_types`, by type: the type it is stored as.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """What a domain announces (name, title), the page about it, and its Lua."""

    name: str
    title: str
    text: str
    lua: str
