"""The one list of Redis's commands in use: it has all of them, and nothing else."""

import re
from pathlib import Path

from restms_cluster import permissions
from restms_cluster.notifications import PROBE
from tests.commands.conftest import NEEDED, Left

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"redis\.p?call\(\s*'([A-Z]+)'(?:, '(USAGE)')?")
LITERAL = re.compile(r'"([A-Z]{3,}(?:_RO)?)"')
OTHER_WORDS = {"KEYS", "READONLY", "TYPE"}  # of scripts, of answers, and an option
EMBEDDED = {"SHUTDOWN"}  # of the embedded server, whose user may all
AT_THE_DOOR = {"AUTH", "SELECT"}  # which every user may


def test_the_list_has_the_commands_of_all_scripts() -> None:
    texts = [path.read_text() for path in (ROOT / "scripts").glob("*.lua")]
    called = {
        "|".join(filter(None, found)) for text in (*texts, PROBE) for found in CALL.findall(text)
    }
    assert called == {*permissions.SCRIPTS, *permissions.QUOTA}
    # A call by a name that is only known when it runs would not be found here.
    assert all(
        len(CALL.findall(text)) == len(re.findall(r"redis\.p?call\(", text)) for text in texts
    )


def test_nodes_run_with_the_list_and_use_nothing_else(left: Left) -> None:
    """The nodes that made what is there were a user who may do what is needed, and no more."""
    assert left.used <= {*NEEDED, *permissions.OPTIONAL, *AT_THE_DOOR}
    assert {"EVALSHA", "HELLO", "SUBSCRIBE", "SCRIPT|LOAD", "XADD", "SCAN"} <= left.used


def test_the_list_has_every_command_that_is_named_in_python(left: Left) -> None:
    lists = (
        *(permissions.SCRIPTS, permissions.NODES, permissions.QUOTA, permissions.REPLICAS),
        *(permissions.DISK, permissions.CLUSTER, permissions.OPTIONAL, permissions.SENTINEL),
        permissions.TRANSACTION,
        *(permissions.INSPECT, permissions.DOCTOR, permissions.DOCTOR_OF_SENTINELS),
    )
    known = {name.partition("|")[0] for names in lists for name in names} | AT_THE_DOOR
    sources = (ROOT / "cluster" / "restms_cluster").glob("*.py")
    words = {word for path in sources for word in LITERAL.findall(path.read_text())}
    with left.redis.client() as client:
        client.response_callbacks.clear()
        commands = {name.decode().upper() for name in client.execute_command("COMMAND", "LIST")}
    assert {"EVALSHA", "WAIT", "CLUSTER", "EVAL_RO"} <= words & commands
    assert words & commands <= known | OTHER_WORDS | EMBEDDED


def test_the_operators_user_in_the_documentation_is_the_one_of_the_list() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    (line,) = re.findall(r"ACL SETUSER operator .*", text)
    assert set(re.findall(r"\+\S+", line)) == set(map(permissions.rule, permissions.INSPECT))
    more = re.search(r"and for `restms doctor`.*\n.*", text)
    assert more
    doctor = {*permissions.DOCTOR, *permissions.CLUSTER} - {*permissions.INSPECT}
    rules = set(re.findall(r"\+[a-z_|]+", more[0]))
    assert rules == set(map(permissions.rule, doctor))
