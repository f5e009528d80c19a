"""Requests and answers, as they are passed on."""

from dataclasses import fields
from typing import Any

from restms_node.exchange import Request


def test_a_request_that_is_copied_loses_nothing() -> None:
    values: dict[str, Any] = {field.name: object() for field in fields(Request)}
    copied = Request(**values).having(body=b"body")
    assert copied.body == b"body"
    for name in values.keys() - {"body"}:
        assert getattr(copied, name) is values[name], name
