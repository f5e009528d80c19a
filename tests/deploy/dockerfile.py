"""A Dockerfile, read as far as ours goes: stages of instructions, with continued lines joined."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What stands from one FROM to the next."""

    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """Return what stands behind each instruction of that word."""
        return [rest for name, rest in self.instructions if name == word]

    def one(self, word: str) -> str:
        """Return what stands behind the one instruction of that word."""
        (rest,) = self.all(word)
        return rest

    def command(self, word: str) -> list[str]:
        """Return ENTRYPOINT, CMD or HEALTHCHECK, which have the form of a JSON list."""
        rest = self.one(word)
        found: list[str] = json.loads(rest[rest.index("[") :])
        return found

    def variables(self, word: str) -> dict[str, str]:
        """Return what ENV or ARG set."""
        pairs = (pair.partition("=") for rest in self.all(word) for pair in shlex.split(rest))
        return {name: value for name, _, value in pairs}


def stages(path: Path) -> list[Stage]:
    """Read a Dockerfile; what stands before the first FROM is a stage as well."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [Stage()]
    for line in filter(None, joined.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append(Stage())
        found[-1].instructions.append((word, rest.strip()))
    return found
