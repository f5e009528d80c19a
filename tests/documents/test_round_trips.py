"""What one representation says, every other says as well."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError, TooLargeError
from restms_cluster.model import PROPERTIES, Embedded, Header, Limits, Message, Stored
from restms_cluster.names import Kind, Token
from restms_node import documents
from restms_node.representations import REPRESENTATIONS
from restms_node.uris import Uris

LIMITS = Limits()
URIS = Uris("http://example.org")
TOKEN = Token.new(Kind.PIPE, "default").message(7)

anything = st.text(st.characters(codec="utf-8"), max_size=30)
attribute = anything.filter(
    lambda text: all(
        character in "\t\n\r" or (character >= " " and character not in "\ufffe\uffff")
        for character in text
    )
)
valid = {"priority": st.sampled_from("0123456789"), "expiration": st.integers(0, 10**9).map(str)}
properties = st.fixed_dictionaries(
    {}, optional={name: valid.get(name, attribute) for name in PROPERTIES}
)
types = st.sampled_from(["text/plain", "text/html; charset=latin-1", "application/x-y"])
embedded = st.builds(Embedded, types, anything | st.binary(max_size=30))
contents = embedded | st.builds(Stored, st.just(TOKEN.part(1)), types, st.integers(0, 2**40))
messages = st.builds(
    Message,
    st.just(TOKEN),
    st.just(1),
    properties,
    st.lists(st.builds(Header, attribute, attribute), max_size=3).map(tuple),
    st.lists(contents, max_size=3).map(tuple),
)


def meaning(draft):
    """Return what a message says, whatever its contents were carried as."""
    return (
        draft.properties,
        draft.headers,
        [
            content if isinstance(content, str) else (content.type, content.data)
            for content in draft.contents
        ],
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(messages, min_size=1, max_size=3))
def test_a_delivered_message_can_be_posted_again_in_any_form(delivered):
    elements = [documents.message_tree(message, URIS)["message"][0] for message in delivered]
    tree = {"message": elements}
    said = [
        (
            {name: value for name, value in message.properties.items() if value},
            tuple(header for header in message.headers if header.name),
            [
                URIS.resource(content.token)
                if isinstance(content, Stored)
                else (content.type, content.data)
                for content in message.contents
            ],
        )
        for message in delivered
    ]
    for representation in REPRESENTATIONS:
        posted = representation.read(representation.write(tree))
        assert [meaning(draft) for draft in documents.message_post(posted, LIMITS)] == said


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "feed": st.lists(
                st.dictionaries(st.sampled_from(["name", "type", "title"]), attribute),
                min_size=1,
            ),
            "join": st.lists(
                st.fixed_dictionaries(
                    {
                        "address": attribute,
                        "header": st.lists(
                            st.fixed_dictionaries({"name": attribute, "value": attribute}),
                            min_size=1,
                        ),
                    }
                ),
                min_size=1,
            ),
        }
    )
)
def test_every_form_gives_back_the_tree(tree):
    for representation in REPRESENTATIONS:
        assert representation.read(representation.write(tree)) == tree


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(REPRESENTATIONS), st.data())
def test_a_damaged_document_is_read_or_refused(representation, data):
    tree = {
        "message": [
            {"address": "a", "content": [{"type": "a/b", "value": b"\0"}]},
            {"address": "b", "header": [{"name": "n", "value": "v"}]},
        ]
    }
    document = bytearray(representation.write(tree))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(document) - 1))
        document[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        if not document:
            break
    with suppress(BadRequestError, TooLargeError):
        documents.message_post(representation.read(bytes(document)), LIMITS)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(REPRESENTATIONS), st.binary(max_size=60))
def test_noise_is_refused(representation, noise):
    with suppress(BadRequestError):
        assert isinstance(representation.read(noise), dict)


def test_each_media_type_has_a_suffix_of_its_own():
    suffixes = [known.suffix for known in REPRESENTATIONS]
    assert len(set(suffixes)) == len(suffixes)
