"""What is said over a WebSocket: frames of JSON or CBOR, each one object."""

import json

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster import blobs
from restms_cluster.errors import BadRequestError, FullError
from restms_cluster.model import Draft, Embedded
from restms_cluster.names import Token
from restms_node.deliveries import Deliveries
from restms_node.subprotocols import SUBPROTOCOLS, Subprotocol, choose
from restms_node.uris import Uris

PIPE = Token.parse("p" + "0" * 32)
HREF = f"http://127.0.0.1:8080/restms/resource/{PIPE}-7"


def said(frame: str | bytes) -> object:
    return json.loads(frame) if isinstance(frame, str) else cbor2.loads(frame)


def frame_of(subprotocol: Subprotocol, value: object) -> str | bytes:
    return json.dumps(value) if subprotocol.frames is str else cbor2.dumps(value)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS, ids=lambda each: each.name)
def test_each_frame_is_one_object(subprotocol):
    deliveries = Deliveries(Uris("http://127.0.0.1:8080"), PIPE)
    blob = blobs.pack(Draft({"address": "a"}, contents=(Embedded("text/plain", "x"),)))
    content = {"type": "text/plain", "value": "x", "encoding": "plain"}
    frame = subprotocol.message(deliveries, (b"7", blob))
    assert type(frame) is subprotocol.frames
    assert said(frame) == {"message": {"href": HREF, "address": "a", "content": [content]}}
    assert said(subprotocol.beat()) == {}
    told = {"status": 503, "word": "full", "text": "It is full."}
    assert said(subprotocol.error(FullError("It is full."))) == {"error": told}


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS, ids=lambda each: each.name)
def test_an_acknowledgement_names_an_href(subprotocol):
    assert subprotocol.acknowledged(frame_of(subprotocol, {"acknowledge": HREF})) == HREF
    assert subprotocol.acknowledged(frame_of(subprotocol, {})) is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS, ids=lambda each: each.name)
@given(st.binary() | st.text() | JSON_VALUES)
def test_whatever_a_client_sends_is_understood_or_refused(subprotocol, sent):
    if not isinstance(sent, subprotocol.frames):
        try:
            sent = frame_of(subprotocol, sent)
        except TypeError:  # bytes have no JSON
            sent = repr(sent)
    try:
        found = subprotocol.acknowledged(sent)
    except BadRequestError as error:
        reason = error.text
    else:
        assert found is None or isinstance(found, str)
        return
    assert len(reason.encode()) <= 123  # what a close frame has room for


def test_the_clients_order_counts():
    assert choose(["x", "restms.cbor", "restms"]).name == "restms.cbor"
    for offered in ([], ["x"], ["Restms"]):
        with pytest.raises(BadRequestError):
            choose(offered)
