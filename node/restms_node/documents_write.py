"""What clients get: from the broker's nouns to the tree of a representation. It cannot fail."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from restms_cluster.model import (
    PROPERTIES,
    Domain,
    Embedded,
    Feed,
    Header,
    Join,
    Message,
    Pipe,
    Routed,
    Stored,
)
from restms_cluster.names import is_plain
from restms_cluster.profiles import Profile
from restms_node.negotiation import is_text
from restms_node.trees import Element, Tree
from restms_node.uris import Uris


def domain_tree(domain: Domain, profiles: Iterable[Profile], uris: Uris) -> Tree:
    """Describe a domain: its profiles and its public feeds."""
    element: Element = {"name": domain.name, **_given(title=domain.title)}
    listed = [
        {"name": profile.name, **_given(title=profile.title), "href": uris.profile(profile.name)}
        for profile in profiles
    ]
    if listed:
        element["profile"] = listed
    if domain.feeds:
        element["feed"] = [_feed_element(feed, uris) for feed in domain.feeds]
    return {"domain": [element]}


def feed_tree(feed: Feed, uris: Uris) -> Tree:
    """Describe a feed."""
    return {"feed": [_feed_element(feed, uris)]}


def pipe_tree(pipe: Pipe, uris: Uris) -> Tree:
    """Describe a pipe: its joins, its messages and last the asynclet."""
    element: Element = {
        "name": str(pipe.token),
        "type": pipe.type,
        **_given(title=pipe.title),
        "href": uris.resource(pipe.token),
    }
    if pipe.joins:
        element["join"] = [_join_element(join, uris) for join in pipe.joins]
    messages = [
        {
            "href": uris.resource(message.token),
            "address": message.address,
            **_given(message_id=message.message_id),
        }
        for message in pipe.messages
    ]
    if pipe.asynclet is not None:
        messages.append({"href": uris.resource(pipe.asynclet), "async": "1"})
    if messages:
        element["message"] = messages
    return {"pipe": [element]}


def join_tree(join: Join, uris: Uris) -> Tree:
    """Describe a join."""
    return {"join": [{**_join_element(join, uris), **_header_elements(join.headers)}]}


def message_tree(message: Message, uris: Uris) -> Tree:
    """Describe a message as the reader of its URI gets it."""
    return {"message": [_message_element(message, uris)]}


def delivered_element(message: Message, uris: Uris) -> Element:
    """Describe a message among others, which has its URI with it."""
    return {"href": uris.resource(message.token), **_message_element(message, uris)}


def stored_element(element: Element) -> Element:
    """Describe a message by the element that is its stored form, as if it were unpacked."""
    for content in element.get("content", ()):
        content.pop("encoding", None)
        content["value"] = _presented(Embedded(content["type"], content["value"]))
    return element


def routed_tree(routed: Iterable[Routed]) -> Tree:
    """Describe what became of each posted message (3/Defaults)."""
    elements: list[Element] = []
    for one, alike in groupby(routed):  # most fare as the one before
        element = {"count": str(one.count), **_given(full=str(one.full) if one.full else "")}
        elements += [element] * sum(1 for _ in alike)
    return {"message": elements}


def _given(**attributes: str) -> Element:
    return {name: value for name, value in attributes.items() if value}


def _feed_element(feed: Feed, uris: Uris) -> Element:
    token = feed.name.token
    return {
        "name": feed.name.key if token is None else str(token),
        "type": feed.type,
        **_given(title=feed.title, license=feed.license, dedup=feed.dedup),
        **_given(dead_letter=_dead_letter(feed, uris)),
        "href": uris.feed(feed.name),
    }


def _dead_letter(feed: Feed, uris: Uris) -> str:
    # Who may see a public feed need not be one who may read its dead letters.
    target = feed.dead_letter
    if target is None or (target.token is not None and feed.name.token is None):
        return ""
    return uris.feed(target)


def _join_element(join: Join, uris: Uris) -> Element:
    return {
        "href": uris.resource(join.token),
        "type": join.type,
        "address": join.address,
        "feed": uris.feed(join.feed),
    }


def _header_elements(headers: Sequence[Header]) -> Element:
    if not headers:
        return {}
    return {"header": [{"name": header.name, "value": header.value} for header in headers]}


def _message_element(message: Message, uris: Uris) -> Element:
    properties = message.properties
    element: Element = {"address": properties.get("address", "")}
    for name in PROPERTIES[1:]:
        value = properties.get(name)
        if value:
            element[name] = value
    if message.redelivered:
        element["redelivered"] = "1"
    element.update(_header_elements(message.headers))
    if message.contents:
        element["content"] = [_content_element(content, uris) for content in message.contents]
    return element


def _content_element(content: Embedded | Stored, uris: Uris) -> Element:
    if isinstance(content, Stored):
        href = uris.resource(content.token)
        return {"type": content.type, "href": href, "length": str(content.size)}
    return {"type": content.type, "value": _presented(content)}


def _presented(content: Embedded) -> str | bytes:
    """Return text as text, although it was posted as bytes (2/RestMS)."""
    value = content.value
    if isinstance(value, str) or not is_text(content.type):
        return value
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value
    return text if is_plain(text) else value
