"""Processes that a test starts as a container engine or systemd would, and ends."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.waiting import wait_until

STOP_SECONDS = 10.0
RUN_SECONDS = 120.0


def bare_environment(**variables: str) -> dict[str, str]:
    """Return an environment with nothing in it of a developer's own settings."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"
    return {"PATH": path, "HOME": "/nonexistent", "LANG": "C.UTF-8", **variables}


def without_rights(*command: str) -> list[str]:
    """Return a command that has the rights of its user only, as in a container that drops all.

    Then even root may not write where the mode of a file forbids it.
    """
    if os.geteuid() or not shutil.which("setpriv"):
        return [*command]
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *command]


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path = Path("/")
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process inside `with`; it must end by itself when it is told to."""
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=env, cwd=cwd)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
            raise


def run(command: Sequence[str], env: Mapping[str, str], cwd: Path = Path("/")) -> str:
    """Run a command to its end and return what it printed; an error if it fails."""
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


def until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return when there is a node that says that it is ready."""

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready)
