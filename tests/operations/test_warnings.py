"""A Redis that may forget messages is served, and the operator is told."""

import logging

import pytest
import redis

from tests.operations.conftest import Joined


async def test_a_redis_that_may_lose_messages_is_named(
    joined: Joined, client: "redis.Redis[bytes]", caplog: pytest.LogCaptureFixture
) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with caplog.at_level(logging.WARNING, "restms.member"):
            async with joined():
                pass
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    assert "maxmemory-policy is not noeviction" in caplog.text
    assert "appendonly is not yes" in caplog.text
