"""The link that hears what Redis publishes, and the channels it is subscribed to.

Redis confirms subscriptions in the order they were asked for, one reply to
each, with messages in between. So every command sent joins a queue, and every
reply that is no message belongs to the queue's head. That tells the
confirmation of a channel from that of an earlier subscription to it.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable

import trio

from restms_cluster.address import Address
from restms_cluster.dialer import Dialer, nothing
from restms_cluster.errors import StateUnavailableError
from restms_cluster.link import Answer, Link, LostError, pack, until_lost

PING_SECONDS = 5.0
MOST_IDLE = 10_000
MOST_UNWANTED = 100  # hints of a channel that nobody watches, until it is given up
_SHORTEST_SWEEP = 0.1
_KEYSPACE = b"__keyspace@"

NOTIFICATION, PUBLISH, SWEEP = "notification", "publish", "sweep"
"""Where a hint comes from: Redis's own events, what a script published, or this node itself."""

_logger = logging.getLogger("restms.notifications")


class _Subscription:
    """One SUBSCRIBE: whether it was answered, and whether that was a yes."""

    __slots__ = ("confirmed", "settled", "wakes")

    def __init__(self, *, wakes: bool) -> None:
        """`wakes`: hints may have been missed before it, so its confirmation is a hint itself."""
        self.confirmed = False
        self.settled = trio.Event()
        self.wakes = wakes


class Topic:
    """A channel that somebody watches, or did a moment ago.

    `hints` counts all reasons to read again, `added` those among them that
    were the message "xadd". `key` is None for a channel that stays what and
    where it is. `source` is where the last hint came from. `subscriber` is who listens to it now.
    """

    __slots__ = (
        "added",
        "changed",
        "channel",
        "hints",
        "key",
        "source",
        "subscriber",
        "subscription",
        "unwanted",
        "watchers",
    )

    def __init__(self, channel: bytes, key: str | None, subscriber: "Subscriber") -> None:
        self.channel = channel
        self.key = key
        self.subscriber = subscriber
        self.watchers = 0
        self.unwanted = 0
        self.hints = 0
        self.added = 0
        self.source = SWEEP
        self.changed = trio.Event()
        self.subscription = _Subscription(wakes=False)

    def hint(self, source: str) -> None:
        """Wake all who wait for a change."""
        self.source = source
        self.hints += 1
        changed, self.changed = self.changed, trio.Event()
        changed.set()


class Subscriber:
    """A supervised link with one subscription to each channel, however many watch it."""

    def __init__(self, address: Address, linger: float, lost: Callable[[], None] = nothing) -> None:
        """`linger` is for how many seconds a channel is kept when nobody watches it any more.

        `lost` is called whenever there is no link.
        """
        self.address = address
        self.generation = 0
        self._linger = linger
        self._lost = lost
        self._topics: dict[bytes, Topic] = {}
        self._idle: dict[bytes, float] = {}  # the channels nobody watches, oldest first
        self._link: Link | None = None
        self._attached = trio.Event()
        self._expected: deque[tuple[Topic, _Subscription] | None] = deque()
        self._heard = 0
        self._refused = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, and again whenever the link is lost. Raises StartError at first only."""
        dialer = Dialer(self.address, _logger, self._lost)
        link = await dialer.first()
        while True:
            async with link:
                cause = await self._serve(link, task_status if self.generation == 0 else None)
            link = await dialer.again(cause)

    @property
    def connected(self) -> bool:
        """Whether there is a link now."""
        return self._link is not None

    async def wait_connected(self, seconds: float) -> None:
        """Wait for a link; StateUnavailableError if there is none within that time."""
        with trio.move_on_after(seconds):
            while self._link is None:
                await self._attached.wait()
            return
        raise StateUnavailableError("Redis is out of reach.")

    def enter(self, channel: bytes, key: str | None) -> Topic:
        """Count a watcher in; subscribe to the channel if it is the first."""
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(channel, key, self)
            self._subscribe(topic, wakes=False)
        topic.watchers += 1
        topic.unwanted = 0
        self._idle.pop(channel, None)
        return topic

    def leave(self, topic: Topic) -> None:
        """Count a watcher out. The channel is kept a little, for readers come back at once."""
        topic.watchers -= 1
        if topic.watchers == 0:
            self._idle[topic.channel] = trio.current_time()
            if len(self._idle) > MOST_IDLE:
                self._drop(next(iter(self._idle)))

    async def settle(self, topic: Topic, seconds: float) -> bool:
        """Wait until the subscription is answered; tell whether hints now come.

        It does not wait while there is no link: what is missed then is made
        up for when there is one.
        """
        subscription = topic.subscription
        if self._link is not None:
            with trio.move_on_after(seconds):
                await subscription.settled.wait()
        if not subscription.confirmed:
            subscription.wakes = True
        return subscription.confirmed

    def wake_all(self) -> None:
        """Give a hint to every watcher."""
        for topic in self._topics.values():
            topic.hint(SWEEP)

    def move_all(self, channel_of: Callable[[str], bytes]) -> None:
        """Subscribe to what is now the channel of each key, in place of what was."""
        for channel in list(self._idle):
            self._drop(channel)
        for topic in list(self._topics.values()):
            channel = topic.channel if topic.key is None else channel_of(topic.key)
            if channel != topic.channel:
                self._unsubscribe(topic)
                topic.channel = channel
                self._topics[channel] = topic
                self._subscribe(topic, wakes=True)

    def release(self, is_one: Callable[[str], bool]) -> list[Topic]:
        """Give away the topics of those keys that somebody watches, for `adopt` of another."""
        for channel in list(self._idle):
            key = self._topics[channel].key
            if key is not None and is_one(key):
                self._drop(channel)
        topics = self._topics.values()
        released = [topic for topic in topics if topic.key is not None and is_one(topic.key)]
        for topic in released:
            self._unsubscribe(topic)
        return released

    def adopt(self, topics: Iterable[Topic], channel_of: Callable[[str], bytes]) -> None:
        """Listen for what another subscriber gave away; none of it may be watched here yet."""
        for topic in topics:
            topic.subscriber = self
            topic.channel = channel_of(topic.key or "")
            self._topics[topic.channel] = topic
            self._subscribe(topic, wakes=True)

    async def _serve(
        self, link: Link, task_status: trio.TaskStatus[None] | None
    ) -> StateUnavailableError:
        self._link = link
        self._refused = False
        self.generation += 1
        for topic in self._topics.values():
            self._subscribe(topic, wakes=True)
        self._attached.set()
        if task_status is not None:
            task_status.started()
        try:
            return await until_lost(link.write_posted, self._read, self._ping, self._sweep)
        finally:
            self._detach()

    def _detach(self) -> None:
        self._link = None
        self._attached = trio.Event()
        self._expected.clear()
        for channel in list(self._idle):
            self._drop(channel)
        for topic in self._topics.values():
            topic.subscription.confirmed = False
            topic.subscription.settled.set()

    def _subscribe(self, topic: Topic, *, wakes: bool) -> None:
        topic.subscription = _Subscription(wakes=wakes)
        self._send((topic, topic.subscription), "SUBSCRIBE", topic.channel)

    def _unsubscribe(self, topic: Topic) -> None:
        del self._topics[topic.channel]
        topic.subscription.settled.set()
        self._send(None, "UNSUBSCRIBE", topic.channel)

    def _drop(self, channel: bytes) -> None:
        del self._idle[channel]
        self._unsubscribe(self._topics[channel])

    def _send(self, awaited: tuple[Topic, _Subscription] | None, *command: str | bytes) -> None:
        # One channel a command, so that an error reply, too, answers for one channel.
        if self._link is not None:
            self._expected.append(awaited)
            self._link.post(pack(*command))

    async def _read(self) -> None:
        while self._link is not None:
            self._take(await self._link.receive())
            self._heard += 1

    def _take(self, replies: Iterable[Answer]) -> None:
        hinted: dict[Topic, None] = {}
        for reply in replies:
            if isinstance(reply, list) and reply[0] == b"message":
                topic = self._message(reply[1], reply[2])
                if topic is not None:
                    hinted[topic] = None
            elif self._expected:
                self._answered(self._expected.popleft(), reply)
            else:
                raise LostError("Redis sent an answer that nobody had asked for.")
        for topic in hinted:  # once, however many came together
            topic.hint(NOTIFICATION if topic.channel.startswith(_KEYSPACE) else PUBLISH)

    def _message(self, channel: Answer, payload: Answer) -> Topic | None:
        """Take a message; return its topic where somebody is to be woken."""
        topic = self._topics.get(channel) if isinstance(channel, bytes) else None
        if topic is None:
            return None
        topic.added += payload == b"xadd"
        if topic.watchers:
            return topic
        # Its readers find so many messages that they need not wait for any.
        topic.unwanted += 1
        if topic.unwanted > MOST_UNWANTED:
            self._drop(topic.channel)
        return None

    def _answered(self, awaited: tuple[Topic, _Subscription] | None, reply: Answer) -> None:
        refused = isinstance(reply, Exception)
        if refused and not self._refused:
            self._refused = True
            _logger.warning("Redis refuses a subscription: %s", reply)
        if awaited is None:
            return
        topic, subscription = awaited
        subscription.confirmed = not refused
        subscription.settled.set()
        if subscription.wakes and topic.subscription is subscription:
            topic.hint(SWEEP)

    async def _ping(self) -> None:
        """Raise when the link is silent though it was asked: it may be dead without a sign."""
        while True:
            heard = self._heard
            await trio.sleep(PING_SECONDS)
            if self._heard == heard:
                self._send(None, "PING")
                await trio.sleep(PING_SECONDS)
                if self._heard == heard:
                    raise LostError("Redis did not answer in time.")

    async def _sweep(self) -> None:
        """Unsubscribe from what nobody has watched for a while."""
        while True:
            now = trio.current_time()
            for channel, since in list(self._idle.items()):
                if since + self._linger > now:
                    break
                self._drop(channel)
            oldest = next(iter(self._idle.values()), now)
            await trio.sleep(max(_SHORTEST_SWEEP, oldest + self._linger - now))
