"""`restms doctor` on servers that are set up wrong: it says so, and what it says helps."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from restms_cluster.permissions import DOCTOR
from restms_node.command import main
from tests.commands.conftest import NEEDED, allow, as_user, used
from tests.servers import Server, start_server
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
WORD = re.compile(r'(?:(?:ok|unseen|Finding)\(\s*|word[a-z_, ]* = )"([a-z-]+)"')
WELL = {
    "appendonly": "yes",
    "maxmemory": "256mb",
    "notify-keyspace-events": "Kt",
    "stream-node-max-bytes": "1024",
    "requirepass": "pass",
}
CHANNELS = ("~restms:*", "&restms:*", "&__keyspace@0__:restms:*")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_server(tmp_path_factory.mktemp("doctor"), tcp=True)
    yield server
    server.close()


@pytest.fixture
def well(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """A server that is set up well, and asked about by RESTMS_REDIS."""
    url = as_user("default", shared.url)
    monkeypatch.setenv("RESTMS_REDIS", url)
    with shared.client() as client:
        for name, value in WELL.items():
            client.config_set(name, value)
    with redis.Redis.from_url(url, protocol=2) as client:
        before = client.config_get()
        client.flushall()
        yield client
        # What a test has changed, and nothing that may not be.
        for name, value in client.config_get().items():
            if value != before[name]:
                client.config_set(name, before[name])
        client.config_set("requirepass", "")


Told = Callable[..., Any]


def found(told: Told, word: str, *options: str, status: int = 0) -> dict[str, Any]:
    """Return the one finding of this word."""
    findings = told("doctor", *options, status=status)["findings"]
    (finding,) = (finding for finding in findings if finding["word"] == word)
    return finding


def cure(client: "redis.Redis", finding: dict[str, Any]) -> None:
    """Do what the finding says is to be done at once."""
    lines = [line for line in finding["change"] if line.startswith("at once: ")]
    assert lines
    for line in lines:
        client.execute_command(*shlex.split(line.removeprefix("at once: ")))


def test_all_is_well(well: "redis.Redis", told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    seen = told("doctor", "--strict")
    assert {finding["grade"] for finding in seen["findings"]} <= {"ok", "hint"}
    assert main(["doctor", "--quiet"]) == 0
    assert capsys.readouterr().out.endswith("\nAll is well.\n")


@pytest.mark.parametrize(
    ("setting", "wrong", "grade"),
    [
        ("appendonly", "no", "warning"),
        ("appendfsync", "no", "warning"),
        ("no-appendfsync-on-rewrite", "yes", "warning"),
        ("maxmemory-policy", "allkeys-lru", "failure"),
        ("maxmemory", "0", "warning"),
        ("maxmemory", "1mb", "failure"),
        ("timeout", "60", "warning"),
        ("tcp-keepalive", "0", "warning"),
        ("maxclients", "2", "warning"),
        ("stream-node-max-bytes", "4096", "hint"),
        ("notify-keyspace-events", "", "warning"),
        ("notify-keyspace-events", "AE", "warning"),
    ],
)
def test_what_is_set_wrong_is_found_and_mended(
    well: "redis.Redis", told: Told, setting: str, wrong: str, grade: str
) -> None:
    assert found(told, setting_word(setting), "--read-only")["grade"] == "ok"
    well.config_set(setting, wrong)
    status = int(grade == "failure")
    finding = found(told, setting_word(setting), "--read-only", status=status)
    assert finding["grade"] == grade
    assert finding["why"]
    if (setting, wrong) == ("maxmemory", "1mb"):
        well.config_set("maxmemory", "100mb")  # that much more is up to who knows the machine
    else:
        assert f"redis.conf: {setting} " in finding["change"][0]
        cure(well, finding)
    assert found(told, setting_word(setting), "--read-only")["grade"] == "ok"
    strict = ["doctor", "--strict", "--read-only"]
    assert main(strict) == 0
    well.config_set(setting, wrong)
    assert main(strict) == int(grade != "hint")


def setting_word(setting: str) -> str:
    """Findings are named for the setting that they are about."""
    return "notifications" if setting.startswith("notify") else setting


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [("appendonly", "no"), ("appendfsync", "everysec"), ("no-appendfsync-on-rewrite", "yes")],
)
def test_the_level_disk_wants_more(
    well: "redis.Redis", told: Told, monkeypatch: pytest.MonkeyPatch, setting: str, wrong: str
) -> None:
    monkeypatch.setenv("RESTMS_DURABILITY", "disk")
    well.config_set("appendfsync", "always")
    assert found(told, setting, "--read-only")["grade"] == "ok"
    well.config_set(setting, wrong)
    finding = found(told, setting, "--read-only", status=1)
    assert finding["grade"] == "failure"
    cure(well, finding)
    assert found(told, setting, "--read-only")["grade"] == "ok"


def test_notifications_are_tried_from_end_to_end(well: "redis.Redis", told: Told) -> None:
    assert "arrive" in found(told, "notifications")["found"]
    well.config_set("notify-keyspace-events", "Kx")
    findings = {finding["word"]: finding for finding in told("doctor")["findings"]}
    assert findings["notifications"]["grade"] == "warning"
    assert findings["published"]["grade"] == "ok"
    cure(well, findings["notifications"])
    assert set(well.config_get("notify-keyspace-events")["notify-keyspace-events"]) == set("Kxt")
    assert found(told, "notifications")["grade"] == "ok"


def test_a_snapshot_that_fails_stops_all_writing(
    tmp_path: Path,
    start: Callable[..., Server],
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    server = start("--save", "60 1000000", "--dir", str(data), "--notify-keyspace-events", "Kt")
    monkeypatch.setenv("RESTMS_REDIS", server.url)
    with server.client() as client:
        assert found(told, "snapshots", "--read-only")["grade"] == "ok"
        data.rmdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        finding = found(told, "snapshots", "--read-only", status=1)
        assert finding["grade"] == "failure"
        assert "cannot write" in found(told, "published", status=1)["found"]
        cure(client, finding)
        assert found(told, "snapshots", "--read-only")["grade"] == "warning"
        data.mkdir()
    server.restart()  # it has left the folder that is gone
    assert found(told, "snapshots", "--read-only")["grade"] == "ok"


def test_replicas_are_counted_and_are_no_place_for_nodes(
    start: Callable[..., Server], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = start("--repl-diskless-sync-delay", "0")
    monkeypatch.setenv("RESTMS_REDIS", primary.url)
    monkeypatch.setenv("RESTMS_DURABILITY", "replicas")
    assert found(told, "replicas", "--read-only", status=1)["grade"] == "failure"
    replicas = [start("--replicaof", f"127.0.0.1 {primary.port}") for _ in range(2)]
    with primary.client() as client:
        wait_until(lambda: client.info("replication").get("slave1", {}).get("state") == "online")
    assert found(told, "replicas", "--read-only")["change"] == ["the nodes: --replicas 2"]
    monkeypatch.setenv("RESTMS_REPLICAS", "2")
    assert found(told, "replicas", "--read-only")["grade"] == "ok"
    monkeypatch.setenv("RESTMS_REDIS", replicas[0].url)
    assert found(told, "role", "--read-only", status=1)["grade"] == "failure"
    assert told("inspect")["servers"][0]["role"] == "replica"
    with replicas[0].client() as client:
        client.replicaof("NO", "ONE")
    monkeypatch.setenv("RESTMS_DURABILITY", "node")
    assert found(told, "role", "--read-only")["grade"] == "ok"


def test_a_newer_format_is_no_place_for_these_nodes(well: "redis.Redis", told: Told) -> None:
    assert found(told, "format", "--read-only")["grade"] == "ok"
    well.hset("restms:{default}", "format", 99)
    assert "default (99)" in found(told, "format", "--read-only", status=1)["found"]
    well.delete("restms:{default}")
    assert found(told, "format", "--read-only")["grade"] == "ok"


def test_who_is_let_in(
    well: "redis.Redis", shared: Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(told, "authentication", "--read-only")["grade"] == "ok"
    monkeypatch.setenv("RESTMS_REDIS", shared.url)
    assert "asks for a password" in found(told, "reachable", status=1)["found"]
    monkeypatch.setenv("RESTMS_REDIS", shared.url.replace("//", "//:wrong@"))
    finding = found(told, "reachable", status=1)
    assert finding["grade"] == "failure"
    assert "wrong@" not in str(finding)
    well.config_set("requirepass", "")
    monkeypatch.setenv("RESTMS_REDIS", shared.url)
    assert found(told, "authentication", "--read-only")["grade"] == "warning"
    well.config_set("requirepass", "pass")
    monkeypatch.setenv("RESTMS_REDIS", "redis://127.0.0.1:1")
    assert "Cannot connect" in found(told, "reachable", status=1)["found"]


def test_a_user_who_may_not_do_all_is_told_how_he_may(
    well: "redis.Redis", shared: Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTMS_REDIS", as_user("nodes", shared.url))
    monkeypatch.setenv("RESTMS_BYTES_PER_DOMAIN", "1GiB")
    may = {*NEEDED, "MULTI", "DISCARD"}
    for missing, rules, word in (
        ({"XADD", "MEMORY|USAGE", "SCRIPT|LOAD"}, CHANNELS, "commands"),
        (set(), ("~restms:{other}*", *CHANNELS[1:]), "keys"),
        (set(), CHANNELS[:1], "channels"),
    ):
        allow(well, "nodes", may - missing, *rules)
        finding = found(told, word, "--read-only", status=1)
        assert finding["grade"] == "failure"
        assert all(name in finding["found"] for name in missing)
        cure(well, finding)
        assert found(told, word, "--read-only")["grade"] in ("ok", "hint")
    allow(well, "nodes", may, *CHANNELS[:2])
    findings = told("doctor")["findings"]
    seen = {finding["word"]: finding["grade"] for finding in findings}
    assert (seen["channels"], seen["notifications"]) == ("warning", "warning")
    assert seen["published"] == "ok"
    well.acl_deluser("nodes")


def test_what_nodes_can_do_without_is_a_hint(
    well: "redis.Redis", shared: Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(well, "nodes", (*NEEDED, "MULTI", "DISCARD"), *CHANNELS)
    monkeypatch.setenv("RESTMS_REDIS", as_user("nodes", shared.url))
    finding = found(told, "commands")
    assert finding["grade"] == "hint"
    assert "CONFIG|GET" in finding["found"]
    cure(well, finding)
    assert found(told, "commands")["grade"] == "ok"
    well.acl_deluser("nodes")


def test_an_operator_asks_about_the_nodes_user(
    well: "redis.Redis", shared: Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(well, "nodes", set(NEEDED) - {"XADD"}, *CHANNELS)
    allow(well, "operator", DOCTOR, "%R~restms:*")
    monkeypatch.setenv("RESTMS_REDIS", as_user("operator", shared.url))
    well.config_resetstat()
    finding = found(told, "commands", "--user", "nodes", "--read-only", status=1)
    assert finding["found"] == "the user nodes may not use XADD"
    cure(well, finding)
    assert found(told, "commands", "--user", "nodes", "--read-only")["grade"] == "hint"
    assert found(told, "published", "--user", "nodes")["grade"] == "unseen"  # he may not EVAL
    before = used(well)
    assert found(told, "commands", "--read-only", status=1)["grade"] == "failure"  # the operator
    assert before | used(well) <= {*DOCTOR, "AUTH"}
    well.acl_deluser("nodes", "operator")


def test_a_server_that_tells_nothing_of_itself_may_be_well(
    well: "redis.Redis", shared: Server, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As managed services are: no CONFIG, no INFO, no ACL, no transactions."""
    allow(well, "guest", {*NEEDED}, *CHANNELS)
    monkeypatch.setenv("RESTMS_REDIS", as_user("guest", shared.url))
    findings = told("doctor", "--strict")["findings"]
    grades = {finding["word"]: finding["grade"] for finding in findings}
    assert set(grades.values()) <= {"ok", "hint", "unseen"}
    for word in ("appendonly", "maxmemory", "maxmemory-policy", "commands", "maxclients"):
        assert grades[word] == "unseen"
    for word in ("notifications", "published", "latency", "format"):
        assert grades[word] == "ok"
    well.acl_deluser("guest")


def test_it_writes_nothing_that_stays(well: "redis.Redis", told: Told) -> None:
    told("doctor", "--read-only")
    assert well.keys() == []
    told("doctor")
    (probe,) = well.keys()
    assert probe.startswith(b"restms:{default}:probe:doctor-")
    assert 0 < well.ttl(probe) <= 60


def test_a_server_of_another_kind_is_told(
    start: Callable[..., Server], told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTMS_REDIS", start("--cluster-enabled", "yes").url)
    finding = found(told, "mode", "--read-only", status=1)
    assert finding["change"] == ["name it by redis+cluster://"]


def test_every_word_is_explained() -> None:
    """In docs/operations.md, as programs may depend on them."""
    sources = "".join(path.read_text() for path in (ROOT / "cluster").glob("*/check*.py"))
    section = (ROOT / "docs" / "operations.md").read_text().partition("| word | what")[2]
    table = section.partition("\n\n")[0]
    explained = (
        [word for row in table.splitlines() for word in re.findall(r"`([^`]+)`", row.split("|")[1])]
        if table
        else []
    )
    assert set(explained) == set(WORD.findall(sources))


def test_a_fault_of_the_command_line_is_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.startswith("restms: Name a Redis")
