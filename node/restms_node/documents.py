"""What documents mean: between the tree of a representation and the broker's nouns."""

from restms_node.documents_read import (
    FeedChange,
    FeedDraft,
    JoinDraft,
    MessageDraft,
    PipeChange,
    PipeDraft,
    domain_post,
    feed_change,
    join_post,
    message_item,
    message_post,
    pipe_change,
)
from restms_node.documents_write import (
    delivered_element,
    domain_tree,
    feed_tree,
    join_tree,
    message_tree,
    pipe_tree,
    routed_tree,
    stored_element,
)

__all__ = [
    "FeedChange",
    "FeedDraft",
    "JoinDraft",
    "MessageDraft",
    "PipeChange",
    "PipeDraft",
    "delivered_element",
    "domain_post",
    "domain_tree",
    "feed_change",
    "feed_tree",
    "join_post",
    "join_tree",
    "message_item",
    "message_post",
    "message_tree",
    "pipe_change",
    "pipe_tree",
    "routed_tree",
    "stored_element",
]
