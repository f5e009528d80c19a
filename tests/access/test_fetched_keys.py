"""Keys that are fetched from their issuer: when, how often, and what if that fails."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from restms_cluster.errors import UnavailableError
from restms_node import token_keys_fetched
from restms_node.authenticator_jwt import TokenAuthenticator
from restms_node.configured_access import Tokens
from restms_node.remembered import Remembered
from restms_node.token_keys_fetched import FetchedKeys
from tests.access.conftest import Issuer, KeyServer, running
from tests.waiting import until


@asynccontextmanager
async def fetched(
    tokens: Tokens, server: KeyServer
) -> AsyncIterator[tuple[TokenAuthenticator, Remembered]]:
    authenticator = TokenAuthenticator(replace(tokens, keys=server.url))
    async with running(authenticator) as remembered:
        yield authenticator, remembered


async def all_at_once(check: Callable[[], object], times: int = 50) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(check)


async def test_the_first_tokens_wait_for_the_keys(
    tokens: Tokens, issuer: Issuer, key_server: KeyServer
) -> None:
    key_server.gate = trio.Event()
    async with fetched(tokens, key_server) as (authenticator, _):
        found = []

        async def check() -> None:
            found.append(await authenticator.check(issuer.token()))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(check)
            await until(lambda: key_server.fetches == 1)
            key_server.gate.set()
        assert len(found) == 50
        assert None not in found
        assert key_server.fetches == 1


async def test_tokens_with_an_unknown_key_cause_one_fetch(
    tokens: Tokens, issuer: Issuer, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fetched(tokens, key_server) as (authenticator, _):
        assert await authenticator.check(issuer.token()) is not None

        async def check() -> None:
            assert await authenticator.check(issuer.token(kid="unknown")) is None

        await all_at_once(check)
        assert key_server.fetches == 1  # the first was just now
        source = authenticator._source
        assert isinstance(source, FetchedKeys)
        source._rests_until = float("-inf")
        await all_at_once(check)
        await all_at_once(check)
        assert key_server.fetches == 2


async def test_a_new_key_is_found_and_an_old_one_forgotten(
    tokens: Tokens,
    issuer: Issuer,
    stranger: Issuer,
    key_server: KeyServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_keys_fetched, "LEAST_SECONDS", 0.0)
    async with fetched(tokens, key_server) as (authenticator, remembered):
        assert await authenticator.check(issuer.token()) is not None
        generation = remembered.generation
        keys = [{**key, "kid": key["kid"] + "2"} for key in stranger.jwks["keys"]]
        key_server.body = json.dumps({"keys": keys}).encode()
        assert await authenticator.check(stranger.token(kid="r2")) is not None
        assert remembered.generation == generation + 1
        assert await authenticator.check(issuer.token()) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (404, b"no"),
        (302, b""),
        (200, b"<html>"),
        (200, b'{"keys": []}'),
        (200, b" " * (token_keys_fetched.MOST_BYTES + 1)),
    ],
)
async def test_old_keys_are_believed_while_there_are_no_new_ones(
    tokens: Tokens,
    issuer: Issuer,
    key_server: KeyServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    body: bytes,
) -> None:
    monkeypatch.setattr(token_keys_fetched, "LEAST_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    async with fetched(tokens, key_server) as (authenticator, _):
        assert await authenticator.check(issuer.token()) is not None
        good = key_server.body
        key_server.status, key_server.body = status, body
        assert await authenticator.check(issuer.token(kid="unknown")) is None
        assert caplog.text.count("cannot be had") == 1
        assert await authenticator.check(issuer.token()) is not None
        key_server.status, key_server.body = 200, good
        await until(lambda: "can be had again" in caplog.text)


async def test_without_any_keys_nothing_can_be_told(
    tokens: Tokens, issuer: Issuer, key_server: KeyServer
) -> None:
    key_server.status = 500
    async with fetched(tokens, key_server) as (authenticator, _):
        with pytest.raises(UnavailableError):
            await authenticator.check(issuer.token())


async def test_keys_are_not_believed_for_ever(
    tokens: Tokens, issuer: Issuer, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fetched(tokens, key_server) as (authenticator, _):
        assert await authenticator.check(issuer.token()) is not None
        monkeypatch.setattr(token_keys_fetched, "STALE_SECONDS", -1.0)
        with pytest.raises(UnavailableError):
            await authenticator.check(issuer.token())


async def test_a_server_that_does_not_answer_is_given_up(
    tokens: Tokens, issuer: Issuer, key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_keys_fetched, "FETCH_SECONDS", 0.05)
    key_server.gate = trio.Event()
    async with fetched(tokens, key_server) as (authenticator, _):
        with pytest.raises(UnavailableError):
            await authenticator.check(issuer.token())
