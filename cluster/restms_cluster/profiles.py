"""A profile: a set of feed and pipe types with their routing (2/RestMS).

A profile is one module, which has it under the name PROFILE, and its Lua.
`docs/profiles.md` says what the Lua is made of, and how to add one.
"""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from restms_cluster.errors import StartError

_FEED_TYPE = re.compile(r"^feed_types\['([^']*)'\] =", re.MULTILINE)

BUILT_IN = ("restms_cluster.profile_defaults", "restms_cluster.profile_amqp9")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a domain announces (name, title), the page about it, and its Lua."""

    name: str
    title: str
    text: str
    lua: str

    @property
    def feed_types(self) -> frozenset[str]:
        """The types of feeds that it brings."""
        return frozenset(_FEED_TYPE.findall(self.lua))


def load_profiles(extra: Iterable[str] = ()) -> tuple[Profile, ...]:
    """Return the profiles that come with the server, and those of other modules.

    Raises StartError for a module that is not there or has no profile, and for
    two profiles of one name.
    """
    profiles: dict[str, Profile] = {}
    for module in (*BUILT_IN, *extra):
        profile = _load(module)
        if profile.name in profiles:
            raise StartError(f"There are two profiles of the name {profile.name}.")
        profiles[profile.name] = profile
    return tuple(profiles.values())


def _load(module: str) -> Profile:
    try:
        profile = importlib.import_module(module).PROFILE
    except ImportError as error:
        raise StartError(f"The profile module {module} cannot be imported: {error}.") from error
    except AttributeError:
        profile = None
    if not isinstance(profile, Profile):
        raise StartError(f"The module {module} has no profile under the name PROFILE.")
    return profile
