"""Messages in their stored form mean what they would mean by the long way, and are kept as sent."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster import blobs
from restms_cluster.errors import BadRequestError, RestMSError, TooLargeError
from restms_cluster.model import PROPERTIES, Draft, Embedded, Limits, Sealed
from restms_node.documents import message_post
from restms_node.documents_cbor import read
from restms_node.documents_sealed import read_messages

LIMITS = Limits(embed_bytes=40, address_length=20, text_length=30, contents_per_message=3)
MESSAGE = {"address": "oslo", "message_id": "1", "content": [{"type": "text/plain", "value": "x"}]}

texts = st.text(max_size=35) | st.sampled_from(["", "oslo", "x\ny", "ø" * 15, "\0"])
contents = st.fixed_dictionaries(
    {"value": texts | st.binary(max_size=50)},
    optional={
        "type": st.sampled_from(["text/plain", "image/png", " a/b", "none", ""]),
        "encoding": st.sampled_from(["plain", "base64", "x"]),
        "href": st.just("/restms/resource/c1"),
        "more": texts,
    },
)
messages = st.dictionaries(
    st.sampled_from([*PROPERTIES, "delay", "unknown"]), texts | st.integers(0, 99), max_size=4
).flatmap(
    lambda message: st.fixed_dictionaries(
        {name: st.just(value) for name, value in message.items()},
        optional={
            "content": st.lists(contents, max_size=4) | contents,
            "header": st.just([{"name": "a", "value": "b"}]),
        },
    )
)


def document(*found: object) -> bytes:
    return cbor2.dumps({"restms": {"message": list(found)}})


def meaning(message: object) -> object:
    """What a reader would be told of a message, and what it asks of the broker."""
    if isinstance(message, Sealed):
        properties, headers, embedded = blobs.unpack(message.blob)
        assert properties.get("address", "") == message.address
        assert properties.get("message_id", "") == message.message_id
        return properties, headers, embedded, Draft({}).terms
    return message.properties, message.headers, list(message.contents), message.terms


@given(st.lists(messages, min_size=1, max_size=4))
def test_the_short_way_means_what_the_long_one_does(found: list[object]) -> None:
    data = document(*found)
    try:
        wanted = [meaning(message) for message in message_post(read(data), LIMITS)]
    except RestMSError as error:
        with pytest.raises(type(error)):
            read_messages(data, LIMITS)
        return
    told = [meaning(message) for message in read_messages(data, LIMITS)]
    for (properties, headers, embedded, terms), (other, *rest) in zip(told, wanted, strict=True):
        assert {**properties, "address": other.get("address", "")} == {"address": "", **other}
        assert [headers, embedded, terms] == rest


def test_what_is_plain_is_kept_as_it_came() -> None:
    message = {**MESSAGE, "content": [{"type": "image/png", "value": b"\x00"}, *MESSAGE["content"]]}
    assert (
        read_messages(document(message, message), LIMITS)
        == (Sealed("oslo", "1", cbor2.dumps(message)),) * 2
    )


@pytest.mark.parametrize(
    "more",
    [
        {"priority": "1"},
        {"header": [{"name": "a", "value": "b"}]},
        {"unknown": "x"},
        {"reply_to": ""},
        {"content": [{"type": "text/plain", "value": "x" * 41}]},
        {"content": [{"value": "x"}]},
        {"content": [{"type": "text/plain", "value": "eA==", "encoding": "base64"}]},
    ],
)
def test_what_is_not_goes_the_long_way(more: dict[str, object]) -> None:
    (message,) = read_messages(document({**MESSAGE, **more}), LIMITS)
    assert not isinstance(message, Sealed)


def test_documents_of_any_length_and_order() -> None:
    for count in (1, 23, 24, 255, 256, 300):
        assert len(read_messages(document(*[MESSAGE] * count), LIMITS)) == count
    other = cbor2.dumps({"restms": {"more": "x", "message": [MESSAGE]}})
    assert [meaning(one) for one in read_messages(other, LIMITS)] == [
        ({"address": "oslo", "message_id": "1"}, (), [Embedded("text/plain", "x")], Draft({}).terms)
    ]


def test_too_many_and_none() -> None:
    few = Limits(messages_per_request=2)
    with pytest.raises(TooLargeError):
        read_messages(document(*[MESSAGE] * 3), few)
    with pytest.raises(BadRequestError):
        read_messages(document(), few)


@given(st.integers(0, 200), st.integers(0, 255))
def test_one_byte_off_is_a_document_or_a_refusal(place: int, byte: int) -> None:
    data = bytearray(document(MESSAGE, MESSAGE))
    data[place % len(data)] = byte
    found = []
    for way in (
        lambda: read_messages(bytes(data), LIMITS),
        lambda: message_post(read(data), LIMITS),
    ):
        try:
            found.append([type(message) is not None for message in way()])
        except RestMSError as error:
            found.append(type(error))
    assert found[0] == found[1]


def test_cut_short_or_longer() -> None:
    data = document(MESSAGE, MESSAGE)
    for wrong in (data + b"\x00", *(data[:end] for end in range(1, len(data)))):
        with pytest.raises(BadRequestError):
            read_messages(wrong, LIMITS)
