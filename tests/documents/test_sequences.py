"""CBOR sequences: whatever pieces the bytes come in, the same messages come out, or the same no."""

import time

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError, RestMSError, TooLargeError
from restms_node.documents_cbor import read
from restms_node.sequences import Extent, Messages
from restms_node.trees import normalised
from tests.documents.test_documents_cbor import TAGGED

LIMIT = 1 << 20
INDEFINITE = b"\xbf\x64name\x7f\x61a\x61b\xff\x64list\x9f\xa0\xbf\xff\xff\x61b\x5f\x41x\xff\xff"
DEEPEST = b"\xa1\x61a" * 31 + b"\xa0"

leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=40)
    | st.binary(max_size=40)
)
names = st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: name != "restms")
values = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
items = st.dictionaries(names, values, max_size=3).map(cbor2.dumps)
items |= st.sampled_from([INDEFINITE, DEEPEST, b"\xa0", b"\xbf\xff"])
sequences = st.lists(items, max_size=3)


def taken(pieces, limit=LIMIT):
    """Return the messages that come before the end, or before the error, and that error."""
    messages, found = Messages(limit), []
    try:
        for piece in pieces:
            for element, blob in messages.take(piece):
                assert cbor2.loads(blob) == element
                found.append(normalised(element))
        messages.end()
    except RestMSError as error:
        return found, type(error)
    return found, None


def one_by_one(data):
    return [data[at : at + 1] for at in range(len(data))]


@settings(max_examples=50, deadline=None)
@given(sequences)
def test_every_cut_gives_the_same_messages(sequence):
    data = b"".join(sequence)
    whole = taken([data])
    assert whole == ([taken([item])[0][0] for item in sequence], None)
    assert taken(one_by_one(data)) == whole
    for cut in range(len(data) + 1):
        assert taken([data[:cut], data[cut:]]) == whole


@settings(max_examples=50, deadline=None)
@given(sequences, st.binary(max_size=20))
def test_every_cut_of_garbage_gives_the_same_refusal(sequence, garbage):
    data = b"".join(sequence) + garbage
    messages, error = taken([data])
    assert taken(one_by_one(data)) == (messages, error)
    for cut in range(len(data) + 1):
        assert taken([data[:cut], data[cut:]]) == (messages, error)


@settings(max_examples=50, deadline=None)
@given(items)
def test_an_item_ends_at_its_last_byte_only(item):
    extent = Extent()
    assert [extent.ends_in(item[:size]) for size in range(len(item) + 1)] == (
        [False] * len(item) + [True]
    )


@settings(max_examples=50, deadline=None)
@given(items)
def test_an_item_means_what_it_means_in_a_document(item):
    document = b"\xa1\x66restms\xa1\x67message\x81" + item
    if item != DEEPEST:  # which is too deep there
        assert taken([item])[0] == read(document)["message"]


def test_an_item_may_be_as_deep_as_a_document():
    assert taken(one_by_one(DEEPEST))[1] is None
    assert taken(one_by_one(b"\xa1\x61a" + DEEPEST)) == ([], BadRequestError)


@pytest.mark.parametrize("name", TAGGED)
def test_tags_are_refused(name):
    good = cbor2.dumps({"address": "a"})
    for data in (TAGGED[name], b"\xa1\x61a" + TAGGED[name]):
        assert taken([good + data]) == ([{"address": "a"}], BadRequestError)


@pytest.mark.parametrize(
    "item",
    [
        b"\x01",
        b"\x80",
        b"\xf6",
        b"\x63abc",
        b"\xa1\x01\x61x",
        b"\xa2\x61a\x61b\x61a\x61c",
        b"\xa1\x61a\xf9\x7c\x00",
        b"\xff",
        b"\x1c",
        b"\xbf\x61a\xff",
        b"\x81" * 100_000,
        cbor2.dumps({"restms": {"message": [{}]}}),
    ],
)
def test_what_is_no_message_is_a_bad_request(item):
    good = cbor2.dumps({"address": "a"})
    assert taken([good, item, good]) == ([{"address": "a"}], BadRequestError)


def test_a_stream_that_ends_within_a_message_is_a_bad_request():
    good = cbor2.dumps({"address": "a"})
    for cut in range(1, len(good)):
        assert taken([good + good[:cut]]) == ([{"address": "a"}], BadRequestError)


@pytest.mark.parametrize("size", [100, 101])
def test_a_message_has_a_limit_however_it_comes(size):
    item = cbor2.dumps({"a": "x" * (size - 5)})
    assert len(item) == size
    error = TooLargeError if size > 100 else None
    assert taken([item], limit=100)[1] == error
    assert taken(one_by_one(item), limit=100)[1] == error


def test_an_announced_giant_is_given_up_at_the_limit():
    pieces = [b"\xa1\x61a\x5b" + b"\x7f" * 8, *[b"x" * 1000] * 2000]
    assert taken(pieces, limit=1_000_000) == ([], TooLargeError)


def test_small_pieces_do_not_make_work_grow_with_the_square():
    """Half a million bytes, each by itself, of an item whose end is the last of them."""
    item = b"\xa1\x61a\x9f" + b"\x00" * 500_000 + b"\xff"
    before = time.process_time()
    assert taken(one_by_one(item))[1] is None
    assert time.process_time() - before < 5
