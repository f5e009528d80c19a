"""Findings about what no test can break on a real server: clocks, disks, old versions, networks."""

from collections.abc import Callable
from typing import Any

import pytest

from restms_cluster.address import Address, Tls
from restms_cluster.checkup_keeping import check_files, check_memory
from restms_cluster.checkup_primary import check_replicas
from restms_cluster.checkup_serving import (
    check_authentication,
    check_clock,
    check_fragmentation,
    check_latency,
    check_stalls,
    check_tls,
    check_version,
)
from restms_cluster.checkup_together import check_clocks, check_count, check_quorum, check_slots
from restms_cluster.findings import Finding, Grade, Seen, Wanted, worst
from restms_cluster.servers import Servers
from restms_cluster.slots import SLOTS

HERE = Address("127.0.0.1")
THERE = Address("redis.example", password="x")
GIB = str(1 << 30)


def seen(address: Address = THERE, **facts: Any) -> Seen:
    """A server that says so of itself."""
    config = {name.replace("_", "-"): value for name, value in facts.pop("config", {}).items()}
    info = facts.pop("info", {})
    return Seen(address, facts.pop("kind", "server"), facts.pop("hello", {}), info, config, **facts)


@pytest.mark.parametrize(
    ("name", "version", "grade"),
    [
        ("redis", "6.2.20", Grade.FAILURE),
        ("redis", "7.0.15", Grade.HINT),
        ("redis", "7.2.10", Grade.HINT),
        ("redis", "7.2.11", Grade.OK),
        ("redis", "8.0.3", Grade.HINT),
        ("redis", "8.4.0", Grade.OK),
        ("valkey", "8.0.5", Grade.HINT),
        ("valkey", "8.1.4", Grade.OK),
        ("valkey", "9.1.2", Grade.OK),
        ("other", "1.0.0", Grade.OK),
        ("redis", "", Grade.UNSEEN),
    ],
)
def test_versions(name: str, version: str, grade: Grade) -> None:
    server = seen(hello={"server": name, "version": version})
    assert check_version(server, Wanted()).grade is grade


@pytest.mark.parametrize(
    ("check", "facts", "grade"),
    [
        (check_tls, {}, Grade.WARNING),
        (check_tls, {"address": Address("redis.example", tls=Tls())}, Grade.OK),
        (check_tls, {"address": Address("::1")}, Grade.OK),
        (check_tls, {"address": Address("localhost")}, Grade.OK),
        (check_tls, {"address": Address(path="/run/redis.sock")}, Grade.OK),
        (check_authentication, {"address": HERE}, Grade.WARNING),
        (check_authentication, {"address": Address(path="/run/redis.sock")}, Grade.OK),
        (check_authentication, {"address": Address(tls=Tls(certfile="/cert"))}, Grade.OK),
        (check_latency, {"pings": [0.001] * 60 + [1.0] * 40}, Grade.OK),
        (check_latency, {"pings": [0.006] * 100}, Grade.WARNING),
        (check_latency, {}, Grade.UNSEEN),
        (check_clock, {"ahead": 0.9}, Grade.OK),
        (check_clock, {"ahead": -1.1}, Grade.WARNING),
        (check_stalls, {"info": {"latest_fork_usec": "100", "aof_delayed_fsync": "0"}}, Grade.OK),
        (check_stalls, {"info": {"latest_fork_usec": "700000"}}, Grade.WARNING),
        (check_stalls, {"info": {"aof_delayed_fsync": "3"}}, Grade.HINT),
        (check_stalls, {}, Grade.UNSEEN),
        (check_files, {"info": {"aof_last_write_status": "err"}}, Grade.FAILURE),
        (
            check_files,
            {"info": {"aof_last_write_status": "ok", "aof_last_bgrewrite_status": "err"}},
            Grade.WARNING,
        ),
        (check_files, {}, Grade.UNSEEN),
        (check_memory, {"info": {"used_memory": GIB, "maxmemory": GIB}}, Grade.FAILURE),
        (check_memory, {"info": {"used_memory": "95", "maxmemory": "100"}}, Grade.WARNING),
        (check_memory, {"info": {"used_memory": "5", "maxmemory": "100"}}, Grade.OK),
    ],
)
def test_what_a_server_tells(
    check: Callable[[Seen, Wanted], Finding], facts: dict[str, Any], grade: Grade
) -> None:
    assert check(seen(**facts), Wanted()).grade is grade


@pytest.mark.parametrize(
    ("used", "ratio", "grade"),
    [
        (GIB, "1.20", Grade.OK),
        (GIB, "1.60", Grade.HINT),
        (GIB, "0.50", Grade.WARNING),
        ("1000000", "9.00", Grade.OK),
        (GIB, "nan", Grade.UNSEEN),
    ],
)
def test_memory_that_is_of_no_use(used: str, ratio: str, grade: Grade) -> None:
    server = seen(info={"used_memory": used, "mem_fragmentation_ratio": ratio})
    assert check_fragmentation(server, Wanted()).grade is grade


def test_a_primary_that_nothing_can_take_over_from() -> None:
    online = {"connected_slaves": "1", "slave0": "ip=10.0.0.1,port=6379,state=online,lag=0"}
    assert check_replicas(seen(info=online, kind="sentinel"), Wanted()).grade is Grade.OK
    copying = {**online, "slave0": "ip=10.0.0.1,port=6379,state=wait_bgsave,lag=0"}
    assert check_replicas(seen(info=copying, kind="sentinel"), Wanted()).grade is Grade.WARNING
    assert check_replicas(seen(info={"connected_slaves": "0"}), Wanted()).grade is Grade.OK


def test_clocks_of_several_servers_are_compared() -> None:
    assert check_clocks([seen(ahead=3.0), seen(ahead=3.5)]).grade is Grade.OK
    assert check_clocks([seen(ahead=-0.8), seen(ahead=0.8)]).grade is Grade.WARNING


def test_slots_that_nobody_serves() -> None:
    first, second = (frozenset(range(n * SLOTS // 2, (n + 1) * SLOTS // 2)) for n in range(2))
    assert check_slots([Servers(HERE, (), first), Servers(THERE, (), second)]).grade is Grade.OK
    assert check_slots([Servers(HERE, (), first)]).grade is Grade.FAILURE


def test_sentinels_that_are_too_few_or_silent() -> None:
    assert [check_count(number).grade for number in (2, 3)] == [Grade.WARNING, Grade.OK]
    assert check_quorum([], []).grade is Grade.OK
    assert check_quorum([], ["redis://10.0.0.1:26379/0"]).grade is Grade.WARNING
    assert check_quorum(["NOQUORUM 1 usable Sentinels."], []).grade is Grade.FAILURE


def test_the_worst_is_what_counts() -> None:
    grades = [Grade.OK, Grade.FAILURE, Grade.UNSEEN, Grade.WARNING]
    assert worst([Finding("a", grade, "") for grade in grades]) is Grade.FAILURE
    assert worst([]) is Grade.OK
