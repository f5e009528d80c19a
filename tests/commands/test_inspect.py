"""`restms inspect` on what real traffic left: it shows it, changes nothing, and keeps secrets."""

import io
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from restms_cluster.formats import FORMAT
from restms_cluster.inspection import DomainSeen, ServerSeen
from restms_cluster.inspection_feeds import FeedSeen
from restms_cluster.inspection_pipes import JoinSeen, PipeSeen
from restms_cluster.permissions import INSPECT
from restms_node import operating
from restms_node.command import main
from tests.commands.conftest import Left, allow, as_user, used
from tests.servers import Server

EVERYTHING = (
    ("overview",),
    ("feeds", "--private"),
    ("pipes",),
    ("pipes", "default", "--sort", "age"),
)


def of(left: Left, *what: str) -> list[str]:
    return ["inspect", *what, "--redis", left.redis.url]


def test_the_overview_counts_what_there_is(left: Left, told: Callable[..., Any]) -> None:
    seen = told(*of(left))
    (server,) = seen["servers"]
    assert server["role"] == "primary"
    assert server["keys"] > 10
    default, weather = seen["domains"]
    assert (default["name"], default["pipes"], default["messages"]) == ("default", 3, 6)
    assert default["format"] == FORMAT
    assert 0 < default["oldest_seconds"] < 600
    assert (weather["name"], weather["feeds"], weather["pipes"]) == ("weather", 3, 0)
    assert (weather["queued"], weather["delayed"], weather["oldest_seconds"]) == (2, 1, None)
    assert weather["bytes"] > 0
    assert 0 <= weather["swept_seconds"] < 600


def test_domains_are_found_or_named(left: Left, told: Callable[..., Any], tmp_path: Path) -> None:
    named = told(*of(left, "overview", "weather"))
    assert [domain["name"] for domain in named["domains"]] == ["weather"]
    assert told(*of(left, "overview", "nowhere"))["domains"] == []
    config = ("--config", tmp_path / "restms.toml", "--redis", left.redis.url)
    (tmp_path / "restms.toml").write_text("[[domain]]\nname = 'weather'")
    configured = told("inspect", *config)
    assert [domain["name"] for domain in configured["domains"]] == ["default", "weather"]
    (tmp_path / "restms.toml").write_text("")
    assert len(told("inspect", *config)["domains"]) == 1
    assert len(told("inspect", *config, "--walk")["domains"]) == 2


def test_feeds_stand_in_order_of_what_waits(left: Left, told: Callable[..., Any]) -> None:
    first, *others = told(*of(left, "feeds", "weather"))["feeds"]
    assert (first["name"], first["type"], first["dead_letter"]) == ("alerts", "rotator", "lost")
    assert (first["queued"], first["delayed"], first["configured"]) == (2, 1, True)
    assert {feed["name"] for feed in others} == {"default", "lost"}
    assert len(told(*of(left, "feeds"))["feeds"]) == 4
    (private,) = (
        feed
        for feed in told(*of(left, "feeds", "default", "--private"))["feeds"]
        if feed["title"] == "mine"
    )
    assert private["name"] == f"{left.secrets[-1][:9]}…"


def test_pipes_stand_in_order_and_are_cut_short(left: Left, told: Callable[..., Any]) -> None:
    seen = told(*of(left, "pipes"))
    assert seen["more"] == 0
    assert [(pipe["messages"], pipe["last"]) for pipe in seen["pipes"]] == [(3, 3), (2, 2), (1, 1)]
    first = seen["pipes"][0]
    assert (first["title"], first["joins"]) == ("pipe 3", 1)
    assert 0 < first["idle_seconds"] < 2 * 86_400
    oldest = told(*of(left, "pipes", "--sort", "age", "--limit", "1"))
    assert (oldest["pipes"], oldest["more"]) == ([{**first, **_ages(oldest["pipes"][0])}], 2)


def _ages(pipe: dict[str, Any]) -> dict[str, Any]:
    return {name: pipe[name] for name in ("oldest_seconds", "idle_seconds")}


def test_a_pipe_is_looked_up_by_its_uri(
    left: Left, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{left.pipes[0]}-2\n"))
    seen = told(*of(left, "pipe"))
    assert seen["pipe"]["messages"] == 3
    assert seen["joins"] == [
        {"feed": "default", "type": "", "address": f"{left.secrets[0][:9]}…"},
    ]


def test_no_secret_is_shown(
    left: Left, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for what in (*EVERYTHING, ("pipe",)):
        for form in ((), ("--json",)):
            monkeypatch.setattr(sys, "stdin", io.StringIO(left.pipes[0]))
            assert main([*of(left, *what), *form]) == 0
    shown = capsys.readouterr().out
    assert left.secrets[0][:9] in shown
    assert not any(secret[1:] in shown for secret in left.secrets)
    assert "secret text" not in shown


def test_nothing_reaches_the_terminal_that_it_could_obey(
    left: Left, capsys: pytest.CaptureFixture[str]
) -> None:
    with left.redis.client() as client:
        name = f"restms:{{default}}:pipe:{left.secrets[2][1:]}"
        client.hset(name, "title", "red \x1b[31m \u202e \\x1b")
        assert main(of(left, "pipes")) == 0
        client.hset(name, "title", "pipe 1")
    shown = capsys.readouterr().out
    assert "red \\x1b[31m \\u{202e} \\\\x1b" in shown
    assert shown.replace("\n", "").isprintable()


def test_what_programs_are_told_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for seen in (ServerSeen, DomainSeen, FeedSeen, PipeSeen, JoinSeen):
        assert f"`{' '.join(field.name for field in fields(seen))}`" in text


def test_it_needs_to_read_and_no_more(
    left: Left, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left.dump()
    with left.redis.client() as client:
        allow(client, "operator", INSPECT, "%R~restms:*")
        client.config_resetstat()
        for what in (*EVERYTHING, ("pipe",)):
            monkeypatch.setattr(sys, "stdin", io.StringIO(left.pipes[0]))
            monkeypatch.setenv("RESTMS_REDIS", as_user("operator", left.redis.url))
            assert told("inspect", *what)
        # A Unix socket's URL has a database, which is chosen.
        assert used(client) - {"AUTH", "SELECT"} == set(INSPECT)
    assert left.dump() == before


def test_very_many_pipes_are_walked_through_in_small_steps(
    server: Server, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(operating, "progress", lambda: said.append)
    with server.client() as client:
        client.hset("restms:{many}", mapping={"title": "", "version": "1"})
        pipes = client.pipeline(transaction=False)
        for number in range(3000):
            secret = f"{number:032x}"
            pipes.hset(f"restms:{{many}}:pipe:{secret}", mapping={"type": "", "last": number})
            pipes.zadd("restms:{many}:idle", {secret: 2e12})
        pipes.execute()
        client.config_set("slowlog-log-slower-than", 20_000)
        seen = told("inspect", "pipes", "--redis", server.url, "--limit", "5")
        assert (len(seen["pipes"]), seen["more"]) == (5, 2995)
        assert "looking at pipes: 3,000 so far" in said
        calls = client.info("commandstats")
        assert calls["cmdstat_eval_ro"]["calls"] >= 15
        assert calls["cmdstat_zscan"]["calls"] >= 20
        assert "cmdstat_keys" not in calls


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Name a Redis"),
        (("--redis", "redis://127.0.0.1:1"), "Cannot connect to Redis at redis://127.0.0.1:1/0"),
        (("--redis", "redis://u:secret@127.0.0.1:1"), "Cannot connect"),
        (("--redis", "redis+cluster://127.0.0.1:1"), "No server of the Redis Cluster answers"),
        (("--redis", "redis+sentinel://127.0.0.1:1?master=m"), "No Sentinel answers"),
        (("--redis", "redis://u:secret@", "--config", "/nowhere"), "/nowhere cannot be read"),
        (("pipe", "--redis", "redis://127.0.0.1:1", "--file", "/nowhere"), "/nowhere cannot"),
        (("pipe", "--redis", "redis://127.0.0.1:1", "--file", "/dev/null"), "not the URI of a"),
        (("feeds", "a b", "--redis", "redis://127.0.0.1:1"), "no name of a domain"),
    ],
)
def test_what_goes_wrong_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert main(["inspect", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("restms: ")
    assert reason in captured.err
    assert captured.err.count("\n") == 1
    assert "secret" not in captured.err


@pytest.mark.parametrize("limit", ["-1", "100001", "many", "1e3"])
def test_a_limit_is_a_number(capsys: pytest.CaptureFixture[str], limit: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "pipes", "--limit", limit])
    assert ended.value.code == 2
    assert "a whole number from 0 to 100,000" in capsys.readouterr().err


def test_a_pipe_that_is_gone_and_a_user_who_may_not(
    left: Left, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"/restms/resource/p{'0' * 32}"))
    assert main(of(left, "pipe")) == 1
    assert "no such pipe" in capsys.readouterr().err
    with left.redis.client() as client:
        allow(client, "nobody", set(INSPECT) - {"EVAL_RO"}, "%R~restms:*")
    assert main(["inspect", "--redis", as_user("nobody", left.redis.url)]) == 1
    assert "refuses EVAL_RO" in capsys.readouterr().err


def test_who_reads_the_output_may_stop(left: Left) -> None:
    command = [sys.executable, "-m", "restms_node", *of(left, "feeds")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_ctrl_c_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "restms_node", "inspect", "--redis", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            silent.settimeout(30)
            with silent.accept()[0]:  # now it waits for an answer
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 130
            assert process.stderr is not None
            assert process.stderr.read() == b""
