"""Contexts that messages carry: put into their stored form, and found there."""

import cbor2
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster import blobs
from restms_cluster.model import Draft, Embedded, Header
from restms_node import trace_contexts
from restms_node.trace_contexts import TRACEPARENT, TRACESTATE
from tests.tracing.conftest import SAMPLED

CARRIED = (Header(TRACEPARENT, SAMPLED),)
WITH_STATE = (Header(TRACESTATE, "a=1"), *CARRIED)
TEXTS = st.text("abc\0-{}é", max_size=40)
DRAFTS = st.builds(
    Draft,
    st.dictionaries(st.sampled_from(["address", "message_id", "type"]), TEXTS),
    st.lists(st.builds(Header, TEXTS.filter(bool), TEXTS), max_size=3).map(tuple),
    st.lists(st.builds(Embedded, st.just("a/b"), TEXTS | st.binary(max_size=60)), max_size=3).map(
        tuple
    ),
)


def found(blob: bytes) -> list[str]:
    return [
        f"00-{one.trace_id:032x}-{one.span_id:016x}-{one.trace_flags:02x}"
        for one in trace_contexts.of_stored(blob)
    ]


@given(draft=DRAFTS, carried=st.sampled_from([CARRIED, WITH_STATE]))
def test_what_is_put_in_is_found_and_changes_nothing_else(
    draft: Draft, carried: tuple[Header, ...]
) -> None:
    before = blobs.pack(draft)
    after = blobs.carrying(before, carried, after_others=bool(draft.headers))
    assert found(before) == []
    assert found(after) == [SAMPLED]
    properties, headers, contents = blobs.unpack(before)
    assert blobs.unpack(after) == (properties, headers + carried, contents)


@given(draft=DRAFTS, name=st.sampled_from([TRACEPARENT, "Traceparent", "TRACEPARENT"]))
def test_what_its_publisher_put_in_is_found_as_well(draft: Draft, name: str) -> None:
    own = (Header(name, SAMPLED), *draft.headers)
    assert found(blobs.pack(Draft(draft.properties, own, draft.contents))) == [SAMPLED]


@given(text=TEXTS)
def test_what_only_looks_like_one_is_none(text: str) -> None:
    for value in (text, SAMPLED[:-1] + "x", "-" * len(SAMPLED)):
        assert found(cbor2.dumps({"header": [{"name": TRACEPARENT, "value": value}]})) == []
    assert found(cbor2.dumps({"address": TRACEPARENT, "content": [{"value": SAMPLED}]})) == []


def test_each_context_is_linked_to_once() -> None:
    [one] = trace_contexts.of_stored(blobs.carrying(b"\xa0", CARRIED, after_others=False))
    assert [link.context for link in trace_contexts.links([one, one])] == [one]
