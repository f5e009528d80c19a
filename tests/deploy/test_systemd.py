"""`deploy/restms.service`: systemd understands it, gives it little, and what it starts serves."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.deploy.conftest import DEPLOY
from tests.deploy.processes import bare_environment, run, running, until_ready
from tests.guarded import Guarded
from tests.servers import free_port

UNIT = DEPLOY / "restms.service"
RESTMS = "/opt/restms/bin/restms"
MOST_EXPOSED = "15"  # of 100; most services of a usual system have over 90

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit, with a program in it that there is here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(RESTMS, shutil.which("true") or "/bin/true"))
    return unit


def settings(name: str) -> list[str]:
    """Return what the unit says under that name."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyzed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_systemd
def test_systemd_understands_all_of_it(here: Path) -> None:
    done = analyzed("verify", str(here))
    # What it says of other units of this machine is not ours.
    assert [line for line in done.stderr.splitlines() if "restms" in line] == []


@needs_systemd
def test_it_exposes_little(here: Path) -> None:
    done = analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(here))
    assert done.returncode == 0, done.stdout


def test_it_is_given_longer_than_it_needs_to_drain() -> None:
    (seconds,) = settings("TimeoutStopSec")
    # The defaults of --drain-delay-seconds and --drain-seconds, last answers, and the parent's.
    assert float(seconds) > 1 + 10 + 5 + 5


@pytest.fixture
def credentials(guarded: Guarded, tmp_path: Path) -> Path:
    """The folder in which systemd hands over the shipped file, as an operator fills it."""
    text = (DEPLOY / "restms.toml").read_text()
    text = re.sub(r'^# redis = ".*"$', f'redis = "{guarded.url}"', text, flags=re.MULTILINE)
    text = text.replace("# trusted_proxies", "trusted_proxies")
    (credential,) = settings("LoadCredential")
    name, _, path = credential.partition(":")
    assert path == "/etc/restms/restms.toml"
    (tmp_path / name).write_text(text)
    return tmp_path


def arguments(credentials: Path) -> list[str]:
    """Return what the unit starts the program with."""
    (start,) = settings("ExecStart")
    program, *found = shlex.split(start.replace("${CREDENTIALS_DIRECTORY}", str(credentials)))
    assert program == RESTMS
    return found


def test_what_it_starts_serves(credentials: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    variables = dict(pair.split("=", 1) for pair in settings("Environment"))
    environment = bare_environment(**variables, RESTMS_BIND=f"127.0.0.1:{port}")
    # ExecReload would end a single worker.
    assert settings("ExecReload") == ["/bin/kill -USR1 $MAINPID"]
    assert int(variables["RESTMS_WORKERS"]) > 1
    url = f"http://127.0.0.1:{port}"

    command = [sys.executable, "-m", "restms_node", *arguments(credentials)]
    with running(command, log, environment, tmp_path) as process:
        until_ready(url, process, log)
        assert httpx.get(f"{url}/restms/domain/default").status_code == 200
    assert process.returncode == 0, log.read_text()


def test_the_shipped_configuration_is_right_in_all_its_lines(tmp_path: Path) -> None:
    lines = (DEPLOY / "restms.toml").read_text().splitlines()
    said = [line.removeprefix("# ") for line in lines if re.match(r"# (\[\[|\w+ = )", line)]
    assert len(said) > 8
    configuration, keys = tmp_path / "restms.toml", tmp_path / "keys"
    keys.touch()
    configuration.write_text("\n".join(said).replace("/etc/restms/keys", str(keys)))
    command = [sys.executable, "-m", "restms_node", "check-config", "--config", str(configuration)]
    assert run(command, bare_environment()) == "OK\n"
