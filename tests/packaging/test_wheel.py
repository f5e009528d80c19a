"""What is released: complete, the same whoever makes it, and running from anywhere."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from build.env import DefaultIsolatedEnv
from packaging.metadata import Metadata

from tests.packaging import dist
from tests.readme import check_three_lines, three_lines

PROJECT = Path(__file__).parents[2]
PACKED = {*dist.PACKED, "restms.egg-info"}
PACKAGES = {"restms_cluster", "restms_node", "restms_scripts"}

INSTALL_SECONDS = 300
RUN_SECONDS = 60
LISTENS = re.compile(r"restms (\S+) listens on (http://127\.0\.0\.1:\d+), data in (.+)\n")


@pytest.fixture(scope="module")
def tools() -> Iterator[DefaultIsolatedEnv]:
    with DefaultIsolatedEnv() as tools:
        yield tools


@pytest.fixture(scope="module")
def made(tools: DefaultIsolatedEnv, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that was made of it."""
    return dist.make_with(tools, PROJECT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def sdist(made: tuple[Path, Path]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def wheel(made: tuple[Path, Path]) -> Path:
    return made[1]


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the source distribution is unpacked to."""
    return dist.unpack(sdist, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it depends on."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", str(place), seconds=INSTALL_SECONDS)
    install = ("install", "--quiet", "--no-compile", str(wheel))
    pip = (sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"))
    run(*pip, *install, seconds=INSTALL_SECONDS)
    return place


@pytest.fixture
def served(environment: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of the installed package, run from nowhere near the sources, and its first line."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                *(str(environment / "bin" / "restms"), "serve"),
                *("--bind", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")),
            ],
            cwd=elsewhere,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield process, first_line(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(RUN_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def run(*command: str, seconds: float, cwd: Path | None = None) -> str:
    """Run a command to its end and return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return the environment without what leads to the sources or configures the server."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "RESTMS_", "VIRTUAL_ENV"))
    }


def first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(RUN_SECONDS), log.read_text()
    line = process.stdout.readline()  # it is printed whole
    assert line, log.read_text()
    return line


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_the_sources_are_all_there_and_nothing_else(unpacked: Path, tmp_path: Path) -> None:
    dist.copy_sources(PROJECT, tmp_path / "sources")
    sources = files_in(tmp_path / "sources")
    packed = {name for name in files_in(unpacked) if name.partition("/")[0] not in PACKED}
    assert packed == sources
    assert {"Makefile", "docs/operations.md", "tests/packaging/test_wheel.py"} < packed
    assert all((unpacked / n).read_bytes() == (PROJECT / n).read_bytes() for n in packed)


def test_whoever_makes_them_of_these_sources_gets_the_same(
    tools: DefaultIsolatedEnv, made: tuple[Path, Path], unpacked: Path, tmp_path: Path
) -> None:
    again = dist.make_with(tools, unpacked, tmp_path)
    assert [path.name for path in again] == [path.name for path in made]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in made]


def test_it_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(name)
        assert name.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    said = Metadata.from_email(text, validate=True)  # raises where something is wrong
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert (said.name, str(said.version)) == ("restms", project["version"])
    assert said.license_expression == "MIT"
    assert said.description == (PROJECT / "README.md").read_text()
    assert said.description_content_type == "text/markdown"
    assert {*(said.provides_extra or ())} == {*project["optional-dependencies"]}
    head = re.search(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert head is not None
    assert head[1] == project["version"]  # the changes of this version stand first


def test_it_has_the_packages_and_their_data_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    roots = {name.partition("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == PACKAGES
    assert {name for name in names if name.endswith(".lua")} == {
        f"restms_scripts/{script.name}" for script in (PROJECT / "scripts").glob("*.lua")
    }
    assert {"restms_cluster/py.typed", "restms_node/py.typed"} < set(names)


def test_nothing_of_another_name_is_installed(environment: Path) -> None:
    record = run(
        str(environment / "bin" / "python"),
        "-c",
        "import importlib.metadata as m; print(*m.files('restms'), sep='\\n')",
        seconds=RUN_SECONDS,
        cwd=environment,  # not the checkout, where Python would find that first
    )
    roots = {line.partition("/")[0] for line in record.splitlines() if not line.startswith("..")}
    assert {root for root in roots if not root.startswith("restms-")} == PACKAGES
    [packages] = environment.glob("lib/python*/site-packages")
    for name in ("cluster", "node", "scripts", "tests"):
        assert not (packages / name).exists()


def test_it_tells_its_version(environment: Path, wheel: Path, tmp_path: Path) -> None:
    told = run(str(environment / "bin" / "restms"), "--version", seconds=RUN_SECONDS, cwd=tmp_path)
    assert told == f"restms {wheel.name.split('-')[1]}\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines need curl")
def test_it_serves_the_readmes_lines_and_ends_when_told(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path, wheel: Path
) -> None:
    process, line = served
    said = LISTENS.fullmatch(line)
    assert said is not None, line
    assert said[1] == wheel.name.split("-")[1]
    assert said[3] == str(tmp_path / "data")
    check_three_lines(three_lines(said[2].removeprefix("http://"), tmp_path))
    process.send_signal(signal.SIGTERM)
    assert process.wait(RUN_SECONDS) == 0, (tmp_path / "log").read_text()
    assert not (tmp_path / "data" / "redis.sock").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
