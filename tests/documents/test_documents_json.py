"""JSON: the tree itself, forgiving about shapes and strict about everything else."""

import json

import pytest

from restms_cluster.errors import BadRequestError
from restms_node import documents_json


def read(document):
    return documents_json.read(document.encode() if isinstance(document, str) else document)


def test_the_tree_stands_under_restms():
    document = '{"restms": {"feed": [{"name": "news", "type": "topic"}]}}'
    assert read(document) == {"feed": [{"name": "news", "type": "topic"}]}


def test_one_element_stands_for_a_list_of_one():
    document = '{"restms": {"message": {"address": "a", "header": {"name": "n", "value": "v"}}}}'
    assert read(document) == {
        "message": [{"address": "a", "header": [{"name": "n", "value": "v"}]}]
    }


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("5", "5"),
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("1e3", "1000"),
        ("8.0", "8"),
        ("-0.0", "0"),
        ("true", "1"),
        ("false", "0"),
    ],
)
def test_a_number_is_an_attribute_s_text(number, text):
    document = f'{{"restms": {{"message": {{"priority": {number}}}}}}}'
    assert read(document) == {"message": [{"priority": text}]}


def test_null_is_an_attribute_that_is_not_there():
    assert read('{"restms": {"feed": {"name": null, "type": ""}}}') == {"feed": [{"type": ""}]}


def test_unknown_names_of_any_shape_are_tolerated():
    tree = read('{"xml": 1, "restms": {"a": [1, [2]], "feed": {"b": {"c": {}}, "d": []}}}')
    assert list(tree["feed"][0]) == ["b", "d"]


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        '"restms"',
        "{}",
        '{"feed": {}}',
        '{"restms": null}',
        '{"restms": []}',
        '{"restms": {}, "restms": {}}',
        '{"restms": {"message": {"address": "a"}, "message": {"address": "b"}}}',
        '{"restms": {}} {}',
        '{"restms": {"message": {"priority": NaN}}}',
        '{"restms": {"message": {"priority": -Infinity}}}',
        '{"restms": {"message": {"priority": 1e999}}}',
        '{"restms": {"message": {"priority": ' + "9" * 5000 + "}}}",
        '{"restms": {"message": {"address": "\\ud800"}}}',
        '{"restms": {"message": {"content": {"value": "a\\udc00"}}}}',
        '{"restms": {"message": {"address": "a\nb"}}}',
        b'{"restms": {"feed": {"title": "\xff"}}}',
        b'{"restms": {"feed": {"title": "\xed\xa0\x80"}}}',
        '{"restms": {}}'.encode("utf-16"),
        b"\0",
        "[" * 100_000,
        '{"restms":' * 100_000,
        '{"restms": ' + '{"a": ' * 40 + "{}" + "}" * 41,
    ],
)
def test_what_cannot_be_read_is_a_bad_request(document):
    with pytest.raises(BadRequestError):
        read(document)


def test_the_output_is_utf_8_without_escapes():
    assert documents_json.write({"feed": [{"title": "Süß"}]}) == (
        '{"restms":{"feed":[{"title":"Süß"}]}}'.encode()
    )


@pytest.mark.parametrize(
    ("value", "encoding", "text"),
    [("bell\a", "plain", "bell\a"), ("", "plain", ""), (b"\0\xff", "base64", "AP8=")],
)
def test_a_content_says_how_it_is_encoded(value, encoding, text):
    tree = {"message": [{"content": [{"type": "t/t", "value": value}, {"href": "/c"}]}]}
    contents = json.loads(documents_json.write(tree))["restms"]["message"][0]["content"]
    assert contents == [{"type": "t/t", "encoding": encoding, "value": text}, {"href": "/c"}]
    assert tree["message"][0]["content"][0] == {"type": "t/t", "value": value}
