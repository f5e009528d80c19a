"""A short run of `make upgrade`."""

import pytest

from tests.chaos.balancer import find_haproxy
from tests.chaos.ledger import Ledger
from tests.upgrade.rolling import Account, Plan, run


@pytest.mark.skipif(find_haproxy() is None, reason="HAProxy is not installed")
async def test_nodes_are_replaced_under_load_and_no_client_notices() -> None:
    account = await run(Plan(rounds=1, rate=40, pause=0, last_words=False), lambda _: None)
    assert not account.broken, f"{account.log}\n{account.report()}"
    sent = account.ledger.sent.values()
    assert len(sent) > 100
    assert all(one.acknowledged is not None for one in sent)
    assert account.answers["WebSocket closed 1001"], "nobody was sent elsewhere"


@pytest.mark.parametrize("told", ["POST 502", "GET cut", "POST 503 without Retry-After"])
async def test_an_answer_that_no_client_is_told_to_repeat_is_a_failure(told: str) -> None:
    account = Account(Ledger())
    account.answers.update(["POST 200", "GET 204", "GET 503", "WebSocket closed 1001"])
    assert not account.broken
    account.answers[told] += 1
    assert account.broken
    assert f"NOT AS PROMISED: {told}, 1 times" in account.report()
