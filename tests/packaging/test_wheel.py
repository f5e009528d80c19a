"""The wheel: it installs by itself, runs from anywhere, and brings nothing but its own."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "cluster", "node", "scripts")
PACKAGES = {"restms_cluster", "restms_node", "restms_scripts"}

BUILD_SECONDS = 300
INSTALL_SECONDS = 300
RUN_SECONDS = 60
LISTENS = re.compile(r"restms (\S+) listens on (http://127\.0\.0\.1:\d+), data in (.+)\n")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy: a build leaves files behind that could get into the next."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (PROJECT / name).is_dir():
            shutil.copytree(
                PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(PROJECT / name, copy)
    run(sys.executable, "-m", "build", "--wheel", str(copy), seconds=BUILD_SECONDS)
    [built] = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and what it depends on."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(place), seconds=INSTALL_SECONDS)
    python = str(place / "bin" / "python")
    run(python, "-m", "pip", "install", "--quiet", str(wheel), seconds=INSTALL_SECONDS)
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


def test_it_serves_and_ends_when_told(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path, wheel: Path
) -> None:
    process, line = served
    said = LISTENS.fullmatch(line)
    assert said is not None, line
    assert said[1] == wheel.name.split("-")[1]
    assert said[3] == str(tmp_path / "data")
    answer = httpx.get(f"{said[2]}/restms/domain/default", timeout=RUN_SECONDS)
    assert answer.status_code == 200
    assert 'name="default"' in answer.text
    process.send_signal(signal.SIGTERM)
    assert process.wait(RUN_SECONDS) == 0, (tmp_path / "log").read_text()
    assert not (tmp_path / "data" / "redis.sock").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []
