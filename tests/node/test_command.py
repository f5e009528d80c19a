"""The command line: what it prints, what it logs, and how it ends."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from restms_node import command, server
from restms_node.command import main
from restms_node.config import Settings
from restms_node.options import options
from restms_node.values import SWITCH
from restms_node.version import VERSION

PATIENCE_SECONDS = 60
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take no settings from whoever runs the tests, and leave the log's level as it was."""
    for option in options():
        monkeypatch.delenv(option.variable, raising=False)
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that `serve` was called with; it returns at once."""
    calls: list[Settings] = []

    async def serve(settings: Settings) -> None:
        calls.append(settings)

    monkeypatch.setattr(server, "serve", serve)
    return calls


def test_no_command_shows_help_and_is_a_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: restms" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"restms {VERSION}\n"


def test_help_has_every_option_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in options():
        value = f"[{option.kind.metavar}]" if option.kind is SWITCH else option.kind.metavar
        assert f"\n  {option.flag} {value}" in text
        assert f"(default: {option.default})" in text or not option.default


def test_flags_reach_the_server(served: list[Settings]) -> None:
    assert main(["serve", "--bind", "0.0.0.0:0", "--messages-per-pipe=5", "--redis="]) == 0
    [settings] = served
    assert settings.bind == "0.0.0.0:0"
    assert settings.limits.messages_per_pipe == 5


@pytest.mark.parametrize(
    ("flags", "lane"),
    [([], True), (["--no-lane"], False), (["--lane", "off"], False), (["--lane"], True)],
)
def test_the_lane_can_be_switched_off(served: list[Settings], flags: list[str], lane: bool) -> None:
    assert main(["serve", *flags]) == 0
    assert served[0].lane is lane


def test_the_environment_reaches_the_server(
    served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTMS_MAX_WAITS", "5")
    assert main(["serve"]) == 0
    assert served[0].max_waits == 5


def test_the_level_of_the_log_is_set(served: list[Settings]) -> None:
    assert main(["serve", "--log-level", "debug"]) == 0
    assert logging.getLogger().level == logging.DEBUG


@pytest.mark.parametrize("arguments", [["sing"], ["serve", "--no-such"], ["serve", "--max-wait=1"]])
def test_what_is_not_understood_is_a_misuse(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: restms" in capsys.readouterr().err


def test_a_bad_setting_is_one_line(
    served: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--max-waits", "0"]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(r"restms: --max-waits must be a whole number .*\.\n", error)
    assert served == []


def test_a_server_that_cannot_start_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", "--bind", bind, "--redis", "redis://127.0.0.1:1"]) == 1
    assert re.fullmatch(rf"restms: .*{bind}.*\.\n", capsys.readouterr().err)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_server_is_up_undoes_its_start(
    monkeypatch: pytest.MonkeyPatch, which: signal.Signals
) -> None:
    undone = []

    async def serve(settings: Settings) -> None:
        try:
            signal.raise_signal(which)
            await trio.sleep(PATIENCE_SECONDS)
        except trio.Cancelled:
            undone.append(settings)
            raise

    monkeypatch.setattr(server, "serve", serve)
    assert main(["serve"]) == 0
    assert len(undone) == 1


def test_ctrl_c_while_settings_are_read_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> Settings:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load", load)
    assert main(["serve"]) == 130


def test_the_module_is_the_command_and_logs_to_standard_error(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "restms_node", "serve"]
    done = subprocess.run(
        [*serve, "--max-waits", "0", "--log-format", "human"],
        cwd=tmp_path,
        env={**os.environ, "RESTMS_PORT": "80"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    logged, told = done.stderr.splitlines()
    assert re.fullmatch(rf"{TIME} WARNING restms\.config .*RESTMS_PORT", logged)
    assert told.startswith("restms: --max-waits must be ")
