"""`deploy/Dockerfile`, without a container engine: its steps are done in a folder.

What the base has, and what the last stage takes away from it, only a build of the image can show.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import DEPLOY
from tests.deploy.dockerfile import Stage, stages
from tests.deploy.processes import bare_environment, run, running, until_ready, without_rights
from tests.guarded import Guarded
from tests.servers import free_port

PROJECT = DEPLOY.parent
DOCKERFILE = DEPLOY / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """A folder in place of the image's root, made by the steps that make the image."""
    # Not pytest's own, which other users may not enter.
    folder = Path(tempfile.mkdtemp(prefix="restms-image-"))
    _, builder, last = stages(DOCKERFILE)
    copy(builder, folder / "src")
    arguments = builder.variables("ARG")
    environment = bare_environment(
        **arguments,
        # What it depends on comes from this environment: that all of it installs, the tests of
        # the wheel show. Nor is anything compiled, which only takes time.
        PIP_NO_DEPS="1",
        PIP_NO_COMPILE="1",
        HOME=str(folder),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    for step in builder.all("RUN"):
        run(["sh", "-euc", placed(step, folder)], environment, folder / "src")
    (site,) = folder.glob("opt/restms/lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(p for p in sys.path if "site-packages" in p))
    copy(last, folder)
    make_read_only(folder)
    yield folder
    make_writable(folder)
    shutil.rmtree(folder)


def placed(text: str, root: Path) -> str:
    """Return a command with the image's paths below that folder."""
    for path in ("/opt/", "/wheels", "/etc/"):
        text = text.replace(path, f"{root}{path}")
    return text


def copy(stage: Stage, to: Path) -> None:
    """Do what COPY does, of what Dockerfile.dockerignore lets through."""
    for rest in stage.all("COPY"):
        if rest.startswith("--from"):
            continue
        *sources, target = rest.split()
        for source in sources:
            place = to / target.lstrip("/")
            if (PROJECT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(PROJECT / source, place, ignore=ignored)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place = place if place.suffix else place / Path(source).name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / source, place)


def make_read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


def test_what_is_copied_is_let_through_and_there() -> None:
    let_through = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert let_through[1] == "*"
    for stage in stages(DOCKERFILE):
        for rest in stage.all("COPY"):
            if not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert f"!{source}" in let_through
                    assert (PROJECT / source).exists()


@pytest.mark.skipif(not HADOLINT.exists(), reason="there is no hadolint for this platform")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_and_is_told_to_drain() -> None:
    last = stages(DOCKERFILE)[-1]
    assert last.one("USER") == "65532:65532"
    assert last.one("STOPSIGNAL") == "SIGTERM"
    # A file that is missing would keep a node from starting.
    assert last.variables("ENV")["RESTMS_CONFIG"] in [rest.split()[-1] for rest in last.all("COPY")]


def test_what_was_made_serves_from_a_read_only_root(
    root: Path, guarded: Guarded, tmp_path: Path
) -> None:
    last = stages(DOCKERFILE)[-1]
    port, log = free_port(), tmp_path / "log"
    variables = {name: placed(value, root) for name, value in last.variables("ENV").items()}
    variables["PATH"] = f"{variables['PATH']}:{os.environ['PATH']}"
    variables["RESTMS_BIND"] = variables["RESTMS_BIND"].replace("8080", str(port))
    environment = bare_environment(
        **variables, RESTMS_REDIS=guarded.url, RESTMS_INSECURE="on", RESTMS_DRAIN_DELAY_SECONDS="0"
    )
    command = without_rights(*last.command("ENTRYPOINT"), *last.command("CMD"))
    health = last.command("HEALTHCHECK")
    before = set(root.rglob("*"))
    url = f"http://127.0.0.1:{port}"

    with running(command, log, environment, root) as process:
        until_ready(url, process, log)
        run(without_rights(*health), environment, root)
        made = httpx.post(
            f"{url}/restms/domain/default",
            content="<restms><pipe/></restms>",
            headers={"Content-Type": "text/xml"},
        )
        assert made.status_code == 201, made.text
        where = run(
            [*(root / "opt/restms/bin/python", "-c"), "import restms_node as r; print(r.__file__)"],
            environment,
            root,
        )
        assert where.startswith(str(root))  # and not this checkout's
    assert process.returncode == 0, log.read_text()
    ended = subprocess.run(health, env=environment, capture_output=True, check=False)
    assert ended.returncode == 1
    assert set(root.rglob("*")) == before


def test_it_does_not_start_open_to_everybody(root: Path, guarded: Guarded) -> None:
    last = stages(DOCKERFILE)[-1]
    variables = {name: placed(value, root) for name, value in last.variables("ENV").items()}
    variables["PATH"] = f"{variables['PATH']}:{os.environ['PATH']}"
    environment = bare_environment(**variables, RESTMS_REDIS=guarded.url)
    done = subprocess.run(
        [*last.command("ENTRYPOINT"), *last.command("CMD")],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no authenticator is configured" in done.stderr
