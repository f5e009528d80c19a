"""Versions of the program that were never made: copies of this one, with something changed."""

import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

PACKAGES = ("restms_cluster", "restms_node", "restms_scripts")
VERSION_FILE = "restms_node/version.py"

Edit = tuple[str, str, str]
"""A file, a text in it, and what stands there instead."""

ADDITIVE: tuple[Edit, ...] = (
    # Every script is another one, and a pipe has one more field.
    ("restms_scripts/lib_state.lua", "local clock = ", "local later = true\nlocal clock = "),
    ("restms_scripts/pipe_create.lua", "'title', title,", "'title', title, 'made_by', '9',"),
)
"""A change that older nodes can live with."""

STEP = """[0] = function() end,
  [1] = function()
    redis.call('HSET', domain, 'ordinal', redis.call('HGET', domain, 'serial') or 0)
    redis.call('HDEL', domain, 'serial')
  end,
"""

INCOMPATIBLE: tuple[Edit, ...] = (
    ("restms_cluster/formats.py", "\nFORMAT = 1\n", "\nFORMAT = 2\n"),
    ("restms_scripts/domain_upgrade.lua", "[0] = function() end,\n", STEP),
    *(
        (f"restms_scripts/{name}.lua", "domain, 'serial'", "domain, 'ordinal'")
        for name in (
            "join_create",
            "pipe_create",
            "lib_feed",
            "lib_queue",
            "lib_settle",
            "lib_work",
        )
    ),
)
"""One that they would spoil: what they count in one field is counted in another."""


def make_version(directory: Path, number: str, edits: Iterable[Edit] = ()) -> Mapping[str, str]:
    """Copy the program, change it, and return the environment that runs the copy."""
    for package in PACKAGES:
        shutil.copytree(
            str(files(package)),
            directory / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    edit(directory, (VERSION_FILE, 'version("restms")', repr(number)))
    for one in edits:
        edit(directory, one)
    return {"PYTHONPATH": str(directory)}


def edit(directory: Path, edit: Edit) -> None:
    """Change a file; AssertionError where it has not what is to be changed."""
    name, old, new = edit
    text = (directory / name).read_text()
    assert old in text, f"{name} has no {old!r}"
    (directory / name).write_text(text.replace(old, new))


def this_version() -> str:
    """Return the number of the program as it is."""
    return version("restms")
