"""A real node that sends its spans to a collector; and what becomes of it without one."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from restms_cluster.errors import StartError
from restms_node import command_check, trace_switch
from restms_node.config import Settings
from restms_node.trace_export import resource
from tests.conformance.client import Client
from tests.conformance.documents import message
from tests.nodes import Cluster
from tests.tracing.conftest import PARENT, SAMPLED, TRACE
from tests.waiting import wait_until


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent, until it hangs."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: set[str] = set()
        self.spans: list[tuple[dict[str, str], Any]] = []
        self.hangs = threading.Event()
        self.asked = threading.Event()
        self.goes_on = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()

    def names(self) -> list[str]:
        return sorted(span.name for _, span in self.spans)


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        if self.server.hangs.is_set():
            self.server.goes_on.wait(30)
        self.server.paths.add(self.path)
        for of_one in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {one.key: one.value.string_value for one in of_one.resource.attributes}
            for scope in of_one.scope_spans:
                self.server.spans += [(told, span) for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.goes_on.set()
    one.shutdown()
    one.server_close()


@pytest.fixture(scope="module")
def cluster(collector: Collector) -> Iterator[Cluster]:
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    named = {"OTEL_SERVICE_NAME": "orders-broker", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with Cluster(0, "--log-format", "json", env=env) as cluster:
        started = [
            cluster._spawned(0, "--tracing", env=named),
            cluster._spawned(1, "--no-lane", "--tracing", "on"),
        ]
        cluster.nodes += started
        for node in started:
            node.await_url()
        yield cluster


def test_a_fault_is_logged_with_its_trace(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    with Client([node.url]) as client:
        feed = client.create_feed("faulty")
        key = b"restms:{default}:feed:faulty"
        with cluster.redis.client() as redis:
            redis.delete(key)
            redis.set(key, "spoilt")
        answer = client.post(feed, {"restms": {"message": [message("a")]}}, traceparent=SAMPLED)
        assert answer.status_code == 500
        with cluster.redis.client() as redis:
            redis.delete(key)
    [line] = [line for line in node.log().splitlines() if "Redis refuses" in line]
    told = json.loads(line)
    assert told["trace_id"] == TRACE
    assert told["request_id"] == answer.headers["x-request-id"]


def test_spans_come_to_the_collector(cluster: Cluster, collector: Collector) -> None:
    with Client(cluster.urls) as client:
        feed = client.create_feed("exported")
        pipe = client.create_joined(feed, "a")
        client.on(0).post_messages(feed, message("a"), traceparent=SAMPLED)
        [uri] = client.messages(pipe)
        client.on(1).get(uri)
        client.on(1).delete(uri)
    wait_until(lambda: "publish exported" in collector.names())  # while the node goes on
    assert cluster.nodes[1].terminate() == 0  # and what is left comes at the end
    assert collector.names() == ["acknowledge", "deliver", "publish exported", "publish faulty"]
    assert collector.paths == {"/v1/traces"}
    by_name = {span.name: (told, span) for told, span in collector.spans}
    told, published = by_name["publish exported"]
    assert (published.trace_id.hex(), published.parent_span_id.hex()) == (TRACE, PARENT)
    assert told["service.name"] == "orders-broker"
    told, delivered = by_name["deliver"]
    assert [link.span_id for link in delivered.links] == [published.span_id]
    assert told["service.name"] == "restms"
    assert told["service.version"]
    assert told["service.instance.id"]
    assert "opentelemetry" not in cluster.log()  # nothing to complain of


def test_a_collector_that_hangs_holds_up_nobody(cluster: Cluster, collector: Collector) -> None:
    node = cluster.nodes[0]
    collector.hangs.set()
    collector.asked.clear()
    with Client([node.url]) as client:
        feed = client.create_feed("hanging")
        client.publish(feed, message("a"))
        assert collector.asked.wait(20)
        since = time.monotonic()
        client.publish(feed, message("a"))
        assert time.monotonic() - since < 2
    since = time.monotonic()
    assert node.terminate() == 0
    assert time.monotonic() - since < trace_switch.FLUSH_SECONDS + 4


def test_without_the_packages_a_node_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "restms_node.trace_export")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    trace_switch.check(Settings())
    with pytest.raises(StartError, match=r"--tracing .*: pip install 'restms\[tracing\]'\.$"):
        trace_switch.check(Settings(tracing=True))
    with pytest.raises(StartError):
        command_check.run({"tracing": "on"})
    assert "OK" not in capsys.readouterr().out


def test_without_the_switch_they_are_not_even_imported() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
import restms_node.command, restms_node.server
"""
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_without_the_switch_variables_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    async with trace_switch.tracing(Settings()) as tracing:
        assert tracing is None


async def test_a_variable_that_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000")  # more than the queue holds
    with pytest.raises(StartError, match="cannot be set up"):
        async with trace_switch.tracing(Settings(tracing=True)):
            pass


def test_what_variables_say_of_the_process_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resource().attributes["service.name"] == "restms"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,service.version=7,k=v")
    told = resource().attributes
    assert (told["service.name"], told["service.version"], told["k"]) == ("a", "7", "v")
