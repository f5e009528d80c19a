"""Nchan, nginx's publish and subscribe module, with its messages in Redis.

Its Redis is of the same kind and has the same settings as that of our nodes: an append-only
file, written out every second. A channel keeps all its messages (`nchan_message_buffer_length`;
with its default of 10 it was no faster). nginx has one process, as our node has.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.broker import REDIS, TEXT
from tests.benchmarks.load import Load, rate
from tests.benchmarks.measure import NotInstalledError
from tests.benchmarks.processes import free_port, listens, running
from tests.benchmarks.wire import Line, request
from tests.servers import start_server

NGINX = ("/usr/sbin/nginx", "/usr/local/sbin/nginx")
MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
INSTALL = "nginx with Nchan is not installed (apt-get install nginx-core libnginx-mod-nchan)"
CONFIGURATION = """
{user}
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log warn;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    upstream redis {{ nchan_redis_server redis://127.0.0.1:{redis}; }}
    server {{
        listen 127.0.0.1:{port};
        nchan_message_buffer_length 100000000;
        nchan_message_timeout 1h;
        location = /publish {{
            nchan_publisher;
            nchan_channel_id channel;
            nchan_redis_pass redis;
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nchan:
    """An nginx at work."""

    url: str

    def publish(self, seconds: float) -> float:
        """Messages a second, one in a POST."""
        raw = request("POST", "/publish", TEXT.encode(), "text/plain")
        return rate(self.url, Load((raw,)), seconds)


@contextmanager
def open_nchan(directory: Path) -> Iterator[Nchan]:
    """Run an nginx and its Redis. NotInstalledError without nginx or its module."""
    nginx = shutil.which("nginx") or next((path for path in NGINX if Path(path).exists()), None)
    if nginx is None or not MODULE.exists():
        raise NotInstalledError(INSTALL)
    port = free_port()
    with closing(start_server(directory, *_without_port(REDIS), tcp=True)) as server:
        redis = int(server.url.rpartition(":")[2].partition("/")[0])
        file = directory / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                # Its worker would be somebody who may not write into our directory.
                user="user root;" if os.geteuid() == 0 else "",
                module=MODULE,
                directory=directory,
                redis=redis,
                port=port,
            )
        )
        command = [nginx, "-p", str(directory), "-c", str(file)]
        with running(command, directory / "nginx.log", lambda: listens(port)):
            url = f"http://127.0.0.1:{port}"
            _publish_first(url)
            with server.client() as client:
                if not client.dbsize():
                    raise RuntimeError("Nchan does not keep its messages in Redis.")
            yield Nchan(url)


def _without_port(options: tuple[str, ...]) -> tuple[str, ...]:
    place = options.index("--port")
    return options[:place] + options[place + 2 :]


def _publish_first(url: str) -> None:
    line = Line(url)
    line.ask(request("POST", "/publish", b"first", "text/plain"))
    line.close()
