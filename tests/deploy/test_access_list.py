"""`deploy/users.acl`: each user may do what is needed, and nothing else.

That nodes are allowed all that they do is shown by the conformance suite, whose nodes run with
this list.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from restms_cluster import permissions
from tests.conformance.client import Client
from tests.deploy.processes import bare_environment, run
from tests.guarded import PASSWORDS, USERS, Guarded
from tests.nodes import Cluster
from tests.waiting import wait_until

NODES = {
    *permissions.SCRIPTS,
    *permissions.NODES,
    *permissions.QUOTA,
    *permissions.REPLICAS,
    *permissions.DISK,
    *permissions.TRANSACTION,
    # The one setting that they would change is in the shipped configuration.
    *permissions.OPTIONAL.keys() - {"CONFIG|SET"},
}


@pytest.fixture
def restms(guarded: Guarded) -> Iterator["redis.Redis"]:
    with guarded.client("restms") as client:
        yield client


def allowed(user: str) -> set[str]:
    """Return the commands that a user may use."""
    (line,) = [line for line in USERS.read_text().splitlines() if line.startswith(f"user {user} ")]
    return {word[1:] for word in line.split() if word.startswith("+")}


def test_who_works_here_may_use_exactly_the_commands_that_he_uses() -> None:
    assert allowed("restms") == {permissions.rule(name)[1:] for name in NODES}
    operators = {*permissions.INSPECT, *permissions.DOCTOR}
    assert allowed("operator") == {permissions.rule(name)[1:] for name in operators}


def test_the_shipped_list_lets_nobody_start_without_passwords_of_his_own(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ACL"):
        Unfilled(tmp_path)


class Unfilled(Guarded):
    """A server with the list as it is shipped."""

    def start(self) -> None:
        Path(self._command[self._command.index("--aclfile") + 1]).write_text(USERS.read_text())
        super().start()


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "another's"),
        ("SET", "another's", "1"),
        ("PUBLISH", "another", "x"),
        ("SUBSCRIBE", "__keyspace@0__:another"),
        ("SUBSCRIBE", "__keyevent@0__:xadd"),
        ("PSUBSCRIBE", "restms:*"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("SELECT", "1"),
    ],
    ids=" ".join,
)
def test_nodes_may_not(restms: "redis.Redis", command: tuple[str, ...]) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        restms.execute_command(*command)


def test_nodes_scripts_may_not_either(restms: "redis.Redis") -> None:
    for command in ("'GET', 'another'", "'KEYS', '*'"):
        with pytest.raises(redis.ResponseError, match=r"ACL failure|can't"):
            restms.eval(f"return redis.call({command})", 0)


def test_who_has_no_name_or_a_wrong_password_does_not_come_in(guarded: Guarded) -> None:
    for url in (f"unix://{guarded.socket}", f"unix://{guarded.socket}?username=restms&password=x"):
        with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_a_health_check_needs_no_password_and_sees_nothing(guarded: Guarded) -> None:
    url = f"unix://{guarded.socket}?username=health&password=any"
    with redis.Redis.from_url(url, protocol=2) as client:
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.info()


def test_an_operator_changes_nothing(guarded: Guarded, cluster: Cluster) -> None:
    with guarded.client("operator") as client:
        assert client.hget("restms:{default}", "version")
        for command in (
            ("HSET", "restms:{default}", "a", "b"),
            ("DEL", "restms:{default}"),
            ("GET", "another's"),
            ("EVAL", "return redis.call('DEL', KEYS[1])", 1, "restms:{default}"),
            ("CONFIG", "SET", "maxmemory", "1"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def asked(url: str, *arguments: str) -> str:
    """Return what a command for operators says of that Redis; an error where it fails."""
    command = [sys.executable, "-m", "restms_node", *arguments]
    return run(command, bare_environment(RESTMS_REDIS=url))


def test_an_operator_may_look_inside(guarded: Guarded, cluster: Cluster) -> None:
    with Client(cluster.urls) as client:
        pipe = client.create_pipe(title="Seen by operators")
        told = asked(guarded.url_of("operator"), "inspect", "pipes")
        assert "Seen by operators" in told
        assert pipe not in told


def test_the_doctor_finds_nothing_wrong_with_what_is_shipped(
    guarded: Guarded, cluster: Cluster
) -> None:
    assert "All is well." in asked(guarded.url, "doctor", "--strict")
    told = asked(
        guarded.url_of("operator"), "doctor", "--strict", "--read-only", "--user", "restms"
    )
    assert "FAILURE" not in told
    with guarded.client() as admin:
        admin.acl_log_reset()  # it asks for what it may not


def test_those_that_are_off_are_off(guarded: Guarded) -> None:
    with guarded.client() as admin:
        users = {user: admin.acl_getuser(user) for user in admin.acl_users()}
    on = {name for name, user in users.items() if "on" in user["flags"]}
    assert on == {"health", *PASSWORDS}
    assert {"monitor", "replica", "default"} == set(users) - on


def test_nodes_measure_a_domain_and_are_refused_nothing(guarded: Guarded) -> None:
    def measured() -> bool:
        with guarded.client() as admin:
            return bool(admin.hget("restms:{default}", "bytes"))

    with Cluster(1, "--bytes-per-domain", "1GiB", redis=guarded) as cluster:
        assert httpx.get(f"{cluster.urls[0]}/readyz").status_code == 200
        wait_until(measured)
        assert "may" not in cluster.log()  # no warning of what Redis could lose
        assert "publish the hints" not in cluster.log()
    with guarded.client() as admin:
        refused = [entry for entry in admin.acl_log() if entry["username"] == "restms"]
        admin.acl_log_reset()
    # Those of the test above.
    assert {entry["client-info"]["name"] for entry in refused} <= {""}
