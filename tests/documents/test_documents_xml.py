"""XML: what is read, what is written, and what is refused."""

import resource
import time
from pathlib import Path

import pytest

from restms_cluster.errors import BadRequestError
from restms_node import documents_xml as xml

STATM = Path("/proc/self/statm")


def test_a_feed_is_an_element_and_its_properties_are_attributes():
    document = b'<restms><feed name="news" type="topic"/></restms>'
    assert xml.read(document) == {"feed": [{"name": "news", "type": "topic"}]}


@pytest.mark.parametrize(
    "root",
    [
        b"<restms>%s</restms>",
        b'<restms xmlns="http://www.restms.org/schema/restms">%s</restms>',
        b'<restms xmlns="http://www.imatix.com/schema/restms">%s</restms>',
        b'<?xml version="1.0"?>\n<!-- by hand --><restms>%s</restms>\n<?done?>',
        b"\xef\xbb\xbf<restms>%s</restms>",
    ],
)
def test_any_namespace_or_none_is_accepted(root):
    assert xml.read(root % b'<pipe type="fifo"/>') == {"pipe": [{"type": "fifo"}]}


def test_a_prefixed_namespace_is_accepted_and_prefixed_attributes_are_not_ours():
    document = b'<r:restms xmlns:r="urn:x"><r:feed name="a" r:name="b"/></r:restms>'
    assert xml.read(document)["feed"][0]["name"] == "a"


def test_only_a_content_has_text():
    document = b"""<restms>
      <message address="a">  stray
        <header name="n" value="v">text</header>
        <content type="text/plain" value="no"> one <![CDATA[<two>]]><!-- not --> &#51;
 <b>bold</b>four</content>
      </message>
    </restms>"""
    assert xml.read(document) == {
        "message": [
            {
                "address": "a",
                "header": [{"name": "n", "value": "v"}],
                "content": [{"type": "text/plain", "value": " one <two> 3\n four"}],
            }
        ]
    }


def test_what_means_nothing_is_passed_over_with_all_that_it_holds():
    document = b"""<restms>
      <other><feed name="hidden"/><message><content>hidden</content></message></other>
      <join feed="/restms/feed/a"><feed name="b"/></join>
      <message header="odd" content="odd"><header name="n"/></message>
    </restms>"""
    assert xml.read(document) == {
        "join": [{"feed": "/restms/feed/a"}],
        "message": [{"header": [{"name": "n"}]}],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_the_document_says_its_encoding_itself(encoding):
    document = f'<?xml version="1.0" encoding="{encoding}"?><restms><feed title="Süß"/></restms>'
    assert xml.read(document.encode(encoding)) == {"feed": [{"title": "Süß"}]}


def test_a_document_begins_with_a_declaration_and_our_namespace():
    assert xml.write({"feed": [{"name": "news", "type": ""}]}).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<restms xmlns="http://www.restms.org/schema/restms">\n'
        '  <feed name="news" type=""/>\n'
        "</restms>\n"
    )


@pytest.mark.parametrize("text", ["\r\n\t ", " a ", "]]>&amp;<'\"", "&#10;", "\ud7ff\U0001f600"])
def test_white_space_and_markup_survive(text):
    tree = {
        "message": [
            {"address": text, "content": [{"type": "t/t", "value": text, "encoding": "plain"}]}
        ]
    }
    assert xml.read(xml.write(tree)) == tree


@pytest.mark.parametrize(
    ("value", "encoding", "text"),
    [("a < b", "plain", "a < b"), (b"\0\xff", "base64", "AP8="), ("bell\a", "base64", "YmVsbAc=")],
)
def test_a_content_says_how_it_is_encoded(value, encoding, text):
    written = xml.write({"message": [{"content": [{"type": "t/t", "value": value}]}]})
    content = xml.read(written)["message"][0]["content"][0]
    assert content == {"type": "t/t", "encoding": encoding, "value": text}


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE restms [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">
  <!ENTITY c "&b;&b;&b;">]><restms><feed title="&c;"/></restms>"""
EXTERNAL = (
    b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><restms><feed>&x;</feed></restms>'
)


@pytest.mark.parametrize(
    "document",
    [LAUGHS, EXTERNAL, b'<!DOCTYPE restms SYSTEM "http://example.org/x"><restms/>'],
)
def test_a_dtd_is_refused_and_with_it_every_entity(document):
    with pytest.raises(BadRequestError, match="DTD"):
        xml.read(document)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" ",
        b"\0",
        b"<restms>",
        b"<restms/><restms/>",
        b"<feed/>",
        b"<restms><feed></restms>",
        b"<restms>&unknown;</restms>",
        b'<restms><feed name="a" name="b"/></restms>',
        b"<restms><x:feed/></restms>",
        b'<restms><feed title="\0"/></restms>',
        b'<restms><feed title="&#0;"/></restms>',
        b'<restms><feed title="\xff"/></restms>',
        b'<?xml version="1.0" encoding="utf-7"?><restms/>',
        b'<?xml version="1.0" encoding="zlib_codec"?><restms/>',
        b'<?xml version="1.0" encoding="nonsense"?><restms/>',
        b'<?xml version="1.0" encoding="shift_jis"?><restms><feed title="\x83\x83"/></restms>',
        '<?xml version="1.0" encoding="utf-8"?><restms/>'.encode("utf-16"),
        b'{"restms": {}}',
        b"<restms>" + b"<a>" * 100_000,
        b"<restms>" + b"<a>" * 100 + b"</a>" * 100 + b"</restms>",
    ],
)
def test_what_cannot_be_read_is_a_bad_request(document):
    with pytest.raises(BadRequestError) as refused:
        xml.read(document)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "document",
    [
        b'<restms><feed title="' + b"x" * 4_000_000 + b'"/></restms>',
        b"<restms><feed " + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"/></restms>",
        b"<restms " + b" ".join(b'xmlns:a%d="u:%d"' % (n, n) for n in range(50_000)) + b"/>",
        b"<restms>" + b"".join(b"<a%d/>" % n for n in range(100_000)) + b"</restms>",
        b"<restms><message><content>" + b"&#65;<b/>" * 200_000 + b"</content></message></restms>",
    ],
    ids=["long", "attributes", "namespaces", "names", "pieces"],
)
def test_the_time_grows_with_the_size_only(document):
    """All of these take under half a second; anything quadratic would take minutes."""
    before = time.process_time()
    xml.read(document)
    assert time.process_time() - before < 10


@pytest.mark.skipif(not STATM.exists(), reason="only Linux tells a process's memory in /proc")
def test_nothing_is_kept_of_the_names_in_a_document():
    """A client with ever new names must not fill the memory of a node."""
    before = _resident()
    for turn in range(20):
        names = (b"<n%d-%d%s/>" % (turn, number, b"x" * 1000) for number in range(4000))
        xml.read(b"<restms>" + b"".join(names) + b"</restms>")
    assert _resident() - before < 40_000_000  # of 80,000,000 bytes of names


def _resident():
    return int(STATM.read_text().split()[1]) * resource.getpagesize()
