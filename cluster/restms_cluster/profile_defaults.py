"""The profile 3/Defaults: default feeds and default pipes, whose types are the empty string."""

from restms_cluster.profiles import Profile
from restms_cluster.scripts import source

PROFILE = Profile(
    name="3/Defaults",
    title="Defaults profile",
    text="""\
3/Defaults

A feed of the default type (the empty string) routes each message to every
join whose address equals the message's address. It does not queue: a message
that no join wants is gone, and the publisher is told so by a count of zero.

A pipe of the default type holds its messages until they are deleted. It is
joined, from its creation on, to the feed "default" at the pipe's own name: a
message posted to "default" with a pipe's name as its address reaches that
pipe. That join cannot be deleted, and no other can be made on "default".

"fifo" and "stream" are accepted as other words for the default pipe type: any
pipe can be read as a stream.
""",
    lua=source("profile_defaults"),
)
