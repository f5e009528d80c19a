"""nginx, run with the configuration that the project ships."""

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.servers import free_port
from tests.waiting import wait_until

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
STOP_SECONDS = 10.0


def find_nginx() -> str | None:
    """Return where nginx is; None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def configured(directory: Path, port: int, nodes: Sequence[int]) -> str:
    """Return the configuration with other places: where it listens, its nodes, its files."""
    text = CONFIGURATION.read_text()
    shipped, places = (
        "".join(f"        server 127.0.0.1:{node} max_fails=1 fail_timeout=1s;\n" for node in ports)
        for ports in ((8081, 8082), nodes)
    )
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    files = "".join(f"    {kind}_temp_path {directory / kind};\n" for kind in kinds)
    for before, after in (
        ("user www-data;\n", "daemon off;\n"),
        ("worker_processes auto;", "worker_processes 1;"),
        ("/run/nginx.pid", str(directory / "nginx.pid")),
        ("/var/log/nginx/error.log", str(directory / "error.log")),
        ("worker_rlimit_nofile 65536;", ""),
        ("worker_connections 30000;", "worker_connections 500;"),
        ("http {\n", f"http {{\n{files}"),
        (shipped, places),
        ("        listen 80 ", f"        listen 127.0.0.1:{port} "),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


class Nginx:
    """The process; it listens when this is made."""

    def __init__(self, directory: Path, nodes: Sequence[int]) -> None:
        """`nodes` are ports."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        configuration = directory / "nginx.conf"
        configuration.write_text(configured(directory, self.port, nodes))
        found = find_nginx()
        assert found is not None
        self._log = directory / "said.log"
        with self._log.open("wb") as log:
            command = [found, "-e", "stderr", "-c", str(configuration)]
            self._process = subprocess.Popen(command, stderr=log)
        try:
            wait_until(self._listens)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process and its workers."""
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0
