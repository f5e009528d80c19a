"""The profile 4/AMQP9: the messaging model of AMQP 0-9-1, and shared queues."""

from restms_cluster.profiles import Profile
from restms_cluster.scripts import source

PROFILE = Profile(
    name="4/AMQP9",
    title="AMQP profile",
    text="""\
4/AMQP9

Feeds, by their type:

fanout    routes each message to every join.
direct    routes to every join whose address equals the message's.
topic     routes to every join whose pattern matches the message's address: both
          are words between dots; in a pattern * is any one word, # any number
          of words, also none.
headers   routes to every join all of whose headers the message carries with
          equal values; a join that has the header x-match with the value any
          wants messages that carry any of them.
rotator   gives each message to one join, in turn. Without a join it queues.
service   is a rotator that deletes itself when its last join goes: where the
          feed is, the service is.

A pipe gets one copy of a message from one feed, however many of its joins match.
A message that is posted to one of these feeds is answered with an empty body.

Pipes, by their type:

(empty)   the default pipe of 3/Defaults.
ondemand  holds one message at most, and takes it from its feeds when its next
          message is read. It can be joined to rotator and service feeds only.

What a rotator or service feed gave to a pipe that is then deleted, or collected
because nobody uses it, goes back to the feed, in order, and is given to another
with redelivered="1".
""",
    lua=source("profile_amqp9"),
)
