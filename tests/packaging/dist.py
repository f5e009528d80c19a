"""The wheel and the source distribution, the same bytes whoever makes them.

    python -m tests.packaging.dist dist

The source distribution has the files that git knows (or, unpacked, those that are there); the
wheel is made of it, as whoever installs from it makes one. Both have the date of the last commit,
or that of the variable SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch).
They are the same wherever the version of setuptools is the same.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import ProjectBuilder
from build.env import DefaultIsolatedEnv
from pyproject_hooks import quiet_subprocess_runner

ROOT = Path(__file__).parents[2]
# What setting up, tests and builds leave behind (as in .gitignore), and what packing adds.
LEFT = (".venv", "__pycache__", "*.egg-info", "build", "dist", ".*_cache", ".hypothesis", "data")
PACKED = ("PKG-INFO", "setup.cfg")


def make(source: Path, out: Path) -> tuple[Path, Path]:
    """Make both of the sources in a folder; return the source distribution and the wheel."""
    with DefaultIsolatedEnv() as tools:
        return make_with(tools, source, out)


def make_with(tools: DefaultIsolatedEnv, source: Path, out: Path) -> tuple[Path, Path]:
    """Make them with build tools that may be there already."""
    date = source_date(source)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restms-dist-") as name:
        place = Path(name)
        copy_sources(source, place / "source")
        sdist = repack(build("sdist", tools, place / "source", place, date), out, date)
        return sdist, build("wheel", tools, unpack(sdist, place / "unpacked"), out, date)


def unpack(sdist: Path, place: Path) -> Path:
    """Unpack a source distribution; return its folder."""
    # The first releases of Python 3.11, such as Debian 12's, know no filters.
    filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(sdist) as archive:
        archive.extractall(place, **filters)  # noqa: S202, we packed it ourselves
    [unpacked] = place.iterdir()
    return unpacked


def source_date(source: Path) -> int:
    """When the sources were changed last, in seconds since 1970."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    if (source / ".git").exists():
        return int(git("log", "-1", "--format=%ct", cwd=source))
    return int((source / "CHANGELOG.md").stat().st_mtime)


def copy_sources(source: Path, copy: Path) -> None:
    """Copy the sources: a build leaves files behind that could get into the next."""
    if not (source / ".git").exists():
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*LEFT, *PACKED))
        return
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=source)
    for name in filter(None, listed.split("\0")):
        if (source / name).exists():  # or it is deleted, and that not committed yet
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, copy / name)


def build(kind: str, tools: DefaultIsolatedEnv, source: Path, out: Path, date: int) -> Path:
    """Build what `make_with` is to make, by what pyproject.toml says; return its path."""

    def run(command: Sequence[str], cwd: str | None, more: Mapping[str, str] | None) -> None:
        dated = {**(more or {}), "SOURCE_DATE_EPOCH": str(date)}
        quiet_subprocess_runner(command, cwd, dated)

    builder = ProjectBuilder.from_isolated_env(tools, source, run)
    tools.install(builder.build_system_requires)
    return Path(builder.build(kind, out))


def repack(made: Path, out: Path, date: int) -> Path:
    """Write an archive again, in order, with nothing in it of who packed it, where and when."""
    sdist = out / made.name
    with (
        tarfile.open(made) as old,
        sdist.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=date) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            same = tarfile.TarInfo(member.name)
            same.type, same.size, same.mtime = member.type, member.size, date
            same.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(same, old.extractfile(member) if member.isfile() else None)
    return sdist


def git(*arguments: str, cwd: Path) -> str:
    """Return what git says; CalledProcessError if it fails."""
    done = subprocess.run(("git", *arguments), cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    for path in make(ROOT, Path(sys.argv[1])):
        print(path.name)
