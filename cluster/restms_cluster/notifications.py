"""Hints that wake those who wait for a resource to change.

A hint says "read again", no more. It can be lost; then the waiter reads late,
by itself. How hints travel depends on what Redis lets us do:

- mode "keyspace": Redis itself tells of every change of a stream, if it is
  configured to (`notify-keyspace-events` with K and t);
- mode "published": the scripts publish those hints, too.

Hints of anything that is no stream are always published, on the channel that
is named as the resource's key. A self-test finds out which mode works.
"""

import logging
from collections.abc import Callable, Iterable
from enum import StrEnum
from types import TracebackType
from typing import Self

import trio
from redis.exceptions import ResponseError

from restms_cluster.address import Address
from restms_cluster.connection import Connection
from restms_cluster.dialer import nothing
from restms_cluster.errors import StateUnavailableError
from restms_cluster.subscriber import Subscriber, Topic

CONFIRM_SECONDS = 2.0
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 1.0
PROBE_MILLISECONDS = 60_000

# A script, for only a script may say that it goes on when memory is full: a
# node must not seem unready then, or nobody could acknowledge.
PROBE = """#!lua flags=allow-oom
redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'probe', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
if ARGV[2] == '1' then redis.call('PUBLISH', KEYS[1], 'xadd') end
"""
SETTING = "notify-keyspace-events"
_STREAM = ":messages"

_logger = logging.getLogger("restms.notifications")


class Mode(StrEnum):
    """Who tells of a stream's changes: Redis by itself, or the scripts."""

    KEYSPACE = "keyspace"
    PUBLISHED = "published"


class Watch:
    """Somebody's interest in one resource, while inside `async with`.

    A read made after entering, and one after each wakeup, misses nothing.
    `fresh` tells whether hints of this resource came here already before.
    """

    __slots__ = ("_channel", "_key", "_seen", "_subscriber", "fresh", "topic")

    def __init__(self, subscriber: Subscriber, channel: bytes, key: str | None) -> None:
        self._subscriber = subscriber
        self._channel = channel
        self._key = key
        self._seen = 0
        self.fresh = False

    async def __aenter__(self) -> Self:
        """Return once hints come, or after two seconds at most."""
        self.topic: Topic = self._subscriber.enter(self._channel, self._key)
        self._seen = self.topic.hints
        self.fresh = self.topic.subscription.confirmed
        if not self.fresh:
            try:
                await self._subscriber.settle(self.topic, CONFIRM_SECONDS)
            except BaseException:
                self.topic.subscriber.leave(self.topic)
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Lose interest."""
        self.topic.subscriber.leave(self.topic)

    @property
    def source(self) -> str:
        """Who gave the last hint: Redis, a script that published it, or nobody but this node."""
        return self.topic.source

    async def wakeup(self, seconds: float) -> bool:
        """Wait for a hint that came since entering or the last call; tell whether one did.

        It gives up after that many seconds.
        """
        await trio.lowlevel.checkpoint()
        if self.topic.hints == self._seen:
            with trio.move_on_after(seconds):
                await self.topic.changed.wait()
        woken = self.topic.hints != self._seen
        self._seen = self.topic.hints
        return woken


class Notifications:
    """The hints of one Redis database. Start it with `await nursery.start(notifications.run)`."""

    def __init__(
        self,
        address: Address,
        probe_key: str,
        *,
        linger: float = 10.0,
        lost: Callable[[], None] = nothing,
    ) -> None:
        """`probe_key` is a stream of our own to test with; `linger` is in seconds.

        `lost` is called whenever there is no link.
        """
        self.probe_key = probe_key
        self._address = address
        self._mode = Mode.KEYSPACE
        self._subscriber = Subscriber(address, linger, lost)

    @property
    def mode(self) -> Mode:
        """How the hints of streams travel."""
        return self._mode

    @property
    def connected(self) -> bool:
        """Whether hints can arrive at all now."""
        return self._subscriber.connected

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, for ever. Raises StartError if the first connect fails."""
        await self._subscriber.run(task_status=task_status)

    def watch(self, key: str) -> Watch:
        """Register interest in the resource that has this Redis key."""
        return Watch(self._subscriber, self._channel(key, self._mode), key)

    def wake_all(self) -> None:
        """Give every watcher a hint."""
        self._subscriber.wake_all()

    def release(self, is_one: Callable[[str], bool]) -> list[Topic]:
        """Give away what is watched of such keys, for `adopt` of others' notifications."""
        return self._subscriber.release(is_one)

    def adopt(self, topics: Iterable[Topic]) -> None:
        """Listen for what was given away elsewhere. Who watches it gets a hint once that is done.

        None of these keys may be watched here yet.
        """
        self._subscriber.adopt(topics, lambda key: self._channel(key, self._mode))

    async def round_trip(self, connection: Connection, timeout: float = PROBE_SECONDS) -> bool:
        """Change the probe stream; tell whether its hint arrives within `timeout` seconds.

        Raises StateUnavailableError when Redis is out of reach, which says nothing of hints.
        """
        return await self._round_trip(connection, self._mode, timeout)

    async def establish(self, connection: Connection) -> Mode:
        """Find out how hints can travel, and switch to that mode.

        To be run at the start and after reconnects, for it may be another
        server. Raises StateUnavailableError when Redis is out of reach.
        """
        await self._subscriber.wait_connected(CONNECT_SECONDS)
        if await self._keyspace_works(connection):
            self._switch(Mode.KEYSPACE)
            return self._mode
        if self._mode is not Mode.PUBLISHED:
            _logger.warning(
                "Redis's keyspace notifications for streams (%s) do not arrive: the scripts "
                "publish the hints themselves.",
                SETTING,
            )
        self._switch(Mode.PUBLISHED)
        if not await self._round_trip(connection, Mode.PUBLISHED, PROBE_SECONDS):
            _logger.warning("No hints arrive from Redis: waiting readers only poll.")
        return self._mode

    async def _keyspace_works(self, connection: Connection) -> bool:
        if await self._round_trip(connection, Mode.KEYSPACE, PROBE_SECONDS):
            return True
        return await _configure(connection) and await self._round_trip(
            connection, Mode.KEYSPACE, PROBE_SECONDS
        )

    def _switch(self, mode: Mode) -> None:
        if mode is not self._mode:
            self._mode = mode
            self._subscriber.move_all(lambda key: self._channel(key, mode))

    def _channel(self, key: str, mode: Mode) -> bytes:
        if mode is Mode.KEYSPACE and key.endswith(_STREAM):
            return f"__keyspace@{self._address.db}__:{key}".encode()
        return key.encode()

    async def _round_trip(self, connection: Connection, mode: Mode, timeout: float) -> bool:
        published = int(mode is Mode.PUBLISHED)
        probe = ("EVAL", PROBE, 1, self.probe_key, PROBE_MILLISECONDS, published)
        generation = self._subscriber.generation
        # Watched apart from the mode, so that a test of the other mode moves nobody.
        async with Watch(self._subscriber, self._channel(self.probe_key, mode), None) as watch:
            before = watch.topic.added
            for reply in await connection.call_many([probe]):
                if isinstance(reply, ResponseError):
                    _logger.warning("Redis refuses the probe: %s", reply)
            deadline = trio.current_time() + timeout
            # Not every hint is the probe's: a reconnect is one as well.
            while watch.topic.added == before and trio.current_time() < deadline:
                await watch.wakeup(deadline - trio.current_time())
            arrived = watch.topic.added != before
        if not arrived and (not self.connected or self._subscriber.generation != generation):
            raise StateUnavailableError("The link that hears Redis's notifications was lost.")
        return arrived


async def _configure(connection: Connection) -> bool:
    """Have Redis tell of changes of streams; tell whether it is configured to do so now."""
    try:
        reply = await connection.call("CONFIG", "GET", SETTING)
        flags = reply[1] if isinstance(reply, list) and len(reply) > 1 else b""
        before = flags.decode("ascii", "replace") if isinstance(flags, bytes) else ""
        # A stands for all classes, t among them.
        wanted = "K" if "A" in before else "Kt"
        missing = "".join(flag for flag in wanted if flag not in before)
        if not missing:
            return True  # another node that starts just now may have done it
        await connection.call("CONFIG", "SET", SETTING, before + missing)
    except ResponseError:
        return False  # a managed service, or a user who may not: there is another way
    _logger.info("Redis's %s was set to %s.", SETTING, before + missing)
    return True
