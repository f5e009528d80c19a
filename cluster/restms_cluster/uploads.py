"""Uploads: contents that are staged as their bytes come, in constant memory.

A small content is staged by one script call. Of a larger one every full chunk
goes to Redis as soon as it is there, and each chunk gives what there is another
while to live. So an upload that breaks off leaves nothing: its node frees it, and
if that is killed, the sweep of any other does.
"""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator

import trio

from restms_cluster.broker import MILLISECONDS, Answer, Broker
from restms_cluster.contents import CHUNK_BYTES, staging
from restms_cluster.errors import BadRequestError, NotFoundError, RestMSError
from restms_cluster.names import FeedName, Kind, Token
from restms_cluster.once import key_reused, once
from restms_cluster.scripts import Outcome
from restms_cluster.transitions_content import ContentAbandon, ContentFinish, ContentUpload

CLEAR_SECONDS = 5.0  # for what a broken upload left; then the sweep sees to it
KEEPS = 3  # times the longest pause between pieces of a body that is borne

_log = logging.getLogger("restms.uploads")


async def whole(data: bytes) -> AsyncGenerator[bytes]:
    """Yield the bytes of a content that are at hand."""
    yield data


async def stage(
    broker: Broker,
    feed: FeedName,
    kind: str,
    pieces: AsyncIterator[bytes],
    *,
    pause_seconds: float,
    key: str = "",
    tag: str = "",
) -> Token:
    """Keep a content until a message names it, or its time is over; `tag` is its owner's.

    `pieces` yields its bytes, at intervals of at most `pause_seconds`; what it raises
    ends the upload. With a `key`, a repeated request gets the first one's
    content. Raises NotFoundError without the feed, KeyReusedError for a key of
    another request, FullError where the domain has no room for it; nothing is left then.
    """
    upload = _Upload(broker, feed, kind, pause_seconds, key, tag)
    try:
        async for piece in pieces:
            await upload.take(piece)
        return await upload.finish()
    except BaseException:
        await upload.clear()
        raise


class _Upload:
    def __init__(
        self,
        broker: Broker,
        feed: FeedName,
        kind: str,
        pause_seconds: float,
        key: str,
        tag: str,
    ) -> None:
        self._broker = broker
        self._feed = feed
        self._kind = kind
        self._pause = pause_seconds
        self._key = key
        self._digest = hashlib.sha256()
        self._token = Token.new(Kind.CONTENT, feed.domain, tag)
        self._held = bytearray()
        self._size = 0
        self._chunks = 0
        self._begun = False  # whether there may be something of it in Redis
        self._kept_at = 0.0

    async def take(self, piece: bytes) -> None:
        """Take some bytes, and write what makes a chunk. The last chunk is left to `finish`."""
        if self._key:
            self._digest.update(piece)
        self._size += len(piece)
        self._held += piece
        while len(self._held) > CHUNK_BYTES:
            chunk = bytes(self._held[:CHUNK_BYTES])
            del self._held[:CHUNK_BYTES]
            await self._write(chunk)
        if self._chunks and trio.current_time() - self._kept_at > self._pause:
            await self._write(b"")  # it comes slowly, but it comes

    async def finish(self) -> Token:
        """Make the content whole, so that it can be named. Returns its token."""
        broker, feed, token, kind = self._broker, self._feed, self._token, self._kind
        data = bytes(self._held)
        asked = once(self._key, "content", kind, self._digest.digest())
        if self._chunks:
            finishing = ContentFinish(
                feed.domain,
                feed.key,
                token.secret,
                kind,
                self._size,
                self._chunks,
                int(broker.limits.staged_seconds * MILLISECONDS),
                asked,
                int(broker.limits.idempotency_seconds * MILLISECONDS),
                data,
                broker.most_bytes(feed.domain),
            )
            answer = self._checked(await broker.run(finishing))
        else:
            staged = staging(broker, feed, token, kind, data, asked)
            answer = self._checked(await broker.run(staged))
        if answer.outcome is Outcome.EXISTS:
            await self.clear()
            return Token(Kind.CONTENT, answer.values[0].decode(), feed.domain)
        return token

    async def clear(self) -> None:
        """Free what was written, if it did not become a content. Never raises."""
        if not self._begun:
            return
        abandoning = ContentAbandon(self._feed.domain, self._token.secret)
        with trio.move_on_after(CLEAR_SECONDS, shield=True) as patience:
            try:
                while (await self._broker.run(abandoning)).outcome is Outcome.MORE:
                    pass
            except RestMSError as error:
                _log.warning("a broken upload is left to the sweep: %s", error)
        if patience.cancelled_caught:
            _log.warning("a broken upload is left to the sweep: Redis is slow")

    async def _write(self, chunk: bytes) -> None:
        self._begun = True  # even where this is cancelled before the answer comes
        self._kept_at = trio.current_time()
        keep = int(KEEPS * self._pause * MILLISECONDS)
        feed, secret = self._feed, self._token.secret
        most = self._broker.most_bytes(feed.domain)
        uploading = ContentUpload(feed.domain, feed.key, secret, self._chunks, keep, chunk, most)
        self._checked(await self._broker.run(uploading))
        if chunk:
            self._chunks += 1

    def _checked(self, answer: Answer) -> Answer:
        match answer.outcome:
            case Outcome.OK | Outcome.EXISTS:
                return answer
            case Outcome.ONCE_DIFFERS:
                raise key_reused()
            case Outcome.NO_ROOM:
                raise self._broker.no_room(
                    self._feed.domain, self._size, "the content was not taken"
                )
            case Outcome.GONE:
                raise BadRequestError("The body took too long to come.")
            case _:
                raise NotFoundError("There is no such feed.")
