"""`deploy/compose.yaml`, checked against the specification, and its services as processes.

with services(directory) as url:
    httpx.get(f"{url}/restms/domain/default")

Each runs by the command and with the variables that the file says; only what a container engine
would give (names and addresses, files that are mounted) is put in its place.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyCompose

from tests.chaos.balancer import find_haproxy
from tests.deploy.processes import bare_environment, run, running, until_ready
from tests.servers import find_binary, free_port
from tests.waiting import wait_until

FILE = Path(__file__).parents[2] / "deploy" / "compose.yaml"
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::\?[^}]*)?\}")
NODES = ("node-1", "node-2")
SECRETS = {
    f"{name}_PASSWORD": f"secret-of-{name.lower()}" for name in ("RESTMS", "OPERATOR", "ADMIN")
}


def described(text: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what a compose file describes; ValueError where the specification forbids it."""
    parts = {name: part for name, part in yaml.safe_load(text).items() if name[:2] != "x-"}
    filled = VARIABLE.sub(lambda found: variables[found[1]], json.dumps(parts))
    PyCompose.from_json(filled).validate()
    found: dict[str, Any] = json.loads(filled)
    return found


def places_of(found: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """Return what stands in place of each address, path and port of the containers."""
    redis, front = free_port(), free_port()
    places = {"@valkey:6379": f"@127.0.0.1:{redis}", "'* -::*'": f"127.0.0.1 --port {redis}"}
    for name in NODES:
        address = found["services"][name]["networks"]["inside"]["ipv4_address"]
        places[f"{address}:8080"] = f"127.0.0.1:{free_port()}"
    haproxy = found["services"]["haproxy"]
    places[haproxy["networks"]["inside"]["ipv4_address"]] = "127.0.0.1"
    places[":8080"] = f"127.0.0.1:{front}"
    for service in found["services"].values():
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            places[target] = str(FILE.parent / source if source[0] == "." else directory / source)
        for mounted in service.get("tmpfs", []):
            places[mounted.partition(":")[0]] = str(directory / "tmpfs")
    return places


def placed(text: str, places: Mapping[str, str]) -> str:
    """Return a text with what stands in place of what is in it; the longest goes first."""
    for before in sorted(places, key=len, reverse=True):
        text = text.replace(before, places[before])
    return text.replace("$$", "$")


@contextmanager
def services(directory: Path) -> Iterator[str]:
    """Run all services; enter with the URL that clients have."""
    found = described(FILE.read_text(), SECRETS)["services"]
    places = places_of({"services": found}, directory)
    for folder in ("messages", "tmpfs", "bin"):
        (directory / folder).mkdir()
    binaries = directory / "bin"
    (binaries / "valkey-server").symlink_to(find_binary())
    client = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if client:
        (binaries / "valkey-cli").symlink_to(client)

    def environment(name: str) -> dict[str, str]:
        variables = found[name]["environment"].items()
        bare = bare_environment(**{key: placed(value, places) for key, value in variables})
        return {**bare, "PATH": f"{binaries}:{bare['PATH']}"}

    with ExitStack() as stack:

        def start(name: str, command: list[str], **more: str) -> "tuple[Any, Path]":
            log = directory / f"{name}.log"
            env = {**environment(name), **more}
            return stack.enter_context(running(command, log, env, directory)), log

        start("valkey", [placed(part, places) for part in found["valkey"]["command"]])
        _, test = found["valkey"]["healthcheck"]["test"]
        port = placed("@valkey:6379", places).rpartition(":")[2]
        if client:
            test = test.replace("valkey-cli", f"valkey-cli -p {port}")
            wait_until(lambda: succeeds(test, environment("valkey")))
        nodes = {}
        for name in NODES:
            address = found[name]["networks"]["inside"]["ipv4_address"]
            bind = placed(f"{address}:8080", places)
            command = [sys.executable, "-m", "restms_node", *found[name].get("command", ["serve"])]
            nodes[f"http://{bind}"] = start(name, command, RESTMS_BIND=bind)
        for node, started in nodes.items():
            until_ready(node, *started)
        haproxy = find_haproxy() or ""
        (mounted,) = found["haproxy"]["volumes"]
        configuration = placed(mounted.split(":")[1], places)
        url = f"http://{placed(':8080', places)}"
        until_ready(url, *start("haproxy", [haproxy, "-db", "-f", configuration]))
        yield url


def succeeds(command: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a health check finds its service well."""
    try:
        run(["sh", "-c", command], environment)
    except AssertionError:
        return False
    return True
