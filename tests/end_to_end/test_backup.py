"""Backing up and restoring, by the lines that docs/operations.md prints."""

import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import takewhile
from pathlib import Path

import pytest

from tests.end_to_end.alone import Alone
from tests.end_to_end.conftest import Client, name, parked, text, until
from tests.end_to_end.writers import Writer, uris
from tests.nodes import Cluster
from tests.servers import start_server

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
SECTION = DOCS.read_text().split("\n## Backing up and restoring\n")[1].split("\n## ")[0]
_, BACK_UP, RESTORE, _ = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)

pytestmark = pytest.mark.skipif(
    shutil.which("redis-cli") is None, reason="the lines of the docs need redis-cli"
)


def run(lines: str, place: Path, data: Path, redis: str = "") -> None:
    """Run lines of the docs, in a folder where `backup.rdb` is made or found."""
    # Where the docs wait for a second, we need not.
    script = f"set -eu\nDATA={data}\nredis='{redis}'\n{lines.replace('sleep 1', 'sleep 0.05')}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=place, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_backup_of_redis_is_restored_under_nodes_that_run_on(
    client_of: Callable[[Cluster], Client], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (
        closing(start_server(data, "--appendonly", "yes", tcp=True)) as server,
        Cluster(2, redis=server) as cluster,
    ):
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "acknowledged since", "kept")
        with Writer(client, "default") as writer:
            until(lambda: len(writer.taken) > 20)
            run(BACK_UP, tmp_path, data, f"redis-cli -p {server.port}")
            assert client.send("DELETE", f"{pipe}-1").status_code == 200
            client.publish(name(pipe), "lost")
            seen = set(uris(client, pipe))
            wait = client.later("GET", f"{pipe}-4")
            parked(cluster, pipe)

            server.kill()
            shutil.rmtree(data)
            data.mkdir()
            run(RESTORE, tmp_path, data)
            server.start()

            until(lambda: all(client.send("GET", "/readyz", node=n).is_success for n in (0, 1)))
            assert wait.result(10).status_code == 404
            again = len(writer.taken)
            until(lambda: len(writer.taken) > again + 20)
        # What was there at the backup is there again, also what was acknowledged since.
        held = uris(client, pipe)[:-1]
        assert [text(client.send("GET", uri)) for uri in held] == ["acknowledged since", "kept"]
        assert [name(uri) for uri in held] == [f"{name(pipe)}-{n}" for n in (1, 2)]
        # No URI that was ever told means another message.
        client.publish(name(pipe), "new")
        new = uris(client, pipe)[-2]
        assert text(client.send("GET", new)) == "new"
        assert new not in seen
        assert client.send("GET", f"{pipe}-3").status_code == 404
        # The writer's messages: all until the backup, none since, all after the restoration.
        stored = [one for one in writer.stored() if one not in writer.refused]
        alike = zip(stored, writer.taken, strict=False)
        gap = sum(1 for _ in takewhile(lambda both: both[0] == both[1], alike))
        assert gap >= 20
        assert stored[gap:] == writer.taken[len(writer.taken) - len(stored) + gap :]


def test_a_backup_of_the_embedded_server_is_restored(
    client_of: Callable[[Cluster], Client], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with Alone(tmp_path) as cluster:
        client = client_of(cluster)
        pipe = client.new_pipe()
        client.publish(name(pipe), "kept")
        run(BACK_UP, tmp_path, data, f"redis-cli -s {(data / 'socket').read_text()}")
        assert client.send("DELETE", f"{pipe}-1").status_code == 200
        client.publish(name(pipe), "lost")
        cluster.end(signal.SIGTERM)
        data.rename(tmp_path / "aside")
        run(RESTORE, tmp_path, data)
        cluster.nodes = [cluster.started()]
        assert text(client.send("GET", f"{pipe}-1")) == "kept"
        assert client.send("GET", f"{pipe}-2").status_code == 404
        wait = client.later("GET", uris(client, pipe)[-1])
        client.publish(name(pipe), "new")
        assert text(wait.result(10)) == "new"
        assert client.send("GET", f"{pipe}-2").status_code == 404
