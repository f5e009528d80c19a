"""Content codings (RFC 9110 8.4): bodies that come compressed, and documents that go so.

What is decoded is bounded as it comes out, in pieces: a body of few bytes that
stands for very many is refused at the limit, and nothing beyond it is made.
Between pieces others have their turn.
"""

import sys
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import trio

from restms_cluster.errors import BadRequestError, TooLargeError, UnsupportedCodingError
from restms_node.descriptions import VARY
from restms_node.exchange import Answer, Request
from restms_node.negotiation import weights

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IDENTITY = "identity"
LEAST_BYTES = 1024
"""Below this, compressing costs more than it saves."""

PIECE_BYTES = 64 * 1024
GROWS_FREELY, MOST_GROWTH = 1024 * 1024, 100
"""Bytes that any body may become, and how many times its own a longer one may."""

MEMBERS, BYTES_A_MEMBER = 1000, 64
"""How many members or frames a body may have, and with how many bytes in each one it may
have more: each costs, however little is in it."""

_GZIP_WINDOW: Final = 31  # zlib's largest, with the header of gzip
_ZSTD_WINDOW_LOG = 23  # 8 MiB: what RFC 9659 lets senders use
_FASTEST = 1


class Decompressor(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...  # noqa: D102
    @property
    def needs_input(self) -> bool: ...  # noqa: D102
    @property
    def unused_data(self) -> bytes: ...  # noqa: D102
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...  # noqa: D102


class Compressor(Protocol):
    """What the standard library's compressors have in common."""

    def compress(self, data: bytes, /) -> bytes: ...  # noqa: D102
    def flush(self) -> bytes: ...  # noqa: D102


class _Gunzip:
    """zlib's decompressor, with the manners of the younger ones."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_WINDOW)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        made = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        # What was made in full may have more behind it, though all was read.
        self.needs_input = len(made) < max_length
        return made


@dataclass(frozen=True, slots=True)
class Coding:
    """A content coding: how to begin to read and to write it."""

    name: str
    decompressor: Callable[[], Decompressor]
    compressor: Callable[[], Compressor]


CODINGS: Mapping[str, Coding] = {
    "gzip": Coding("gzip", _Gunzip, lambda: zlib.compressobj(_FASTEST, wbits=_GZIP_WINDOW)),
    "zstd": Coding(
        "zstd",
        lambda: zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        ),
        lambda: zstd.ZstdCompressor(level=_FASTEST),
    ),
}


def of_body(content_encoding: str | None, known: Sequence[str]) -> Coding | None:
    """Return the coding that a request's body is in, None where it is in none.

    Raises UnsupportedCodingError for one that is not known here, and for more
    than one on top of each other.
    """
    if content_encoding is None:
        return None
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name.removeprefix("x-") for name in names if name not in ("", IDENTITY)]
    if not names:
        return None
    if len(names) > 1 or names[0] not in known:
        readable = f"in {' or '.join(known)}, or in none" if known else "in no coding"
        raise UnsupportedCodingError(f"The server reads bodies {readable}.", tuple(known))
    return CODINGS[names[0]]


async def decoded(
    pieces: AsyncGenerator[bytes], coding: Coding, limit: int
) -> AsyncGenerator[bytes]:
    """Yield a body without its coding, in pieces of at most PIECE_BYTES.

    Raises TooLargeError where it is over the limit, BadRequestError where it is
    not what its coding says, and what the pieces raise.
    """
    body, came, size = _Body(coding), 0, 0
    try:
        async for piece in pieces:
            came += len(piece)
            for made in body.take(piece):
                size += len(made)
                if size > limit:
                    raise TooLargeError(f"The body is over its limit of {limit} bytes.")
                if size > max(GROWS_FREELY, MOST_GROWTH * came):
                    raise TooLargeError(
                        f"The body is more than {MOST_GROWTH} times as long without its coding."
                    )
                yield made
                await trio.lowlevel.checkpoint()
        body.end()
    finally:
        await pieces.aclose()


async def decoded_whole(body: bytes, coding: Coding, limit: int) -> bytes:
    """Return a body without its coding; raises as decoded() does."""
    return b"".join([made async for made in decoded(_one(body), coding, limit)])


class _Body:
    """A body on its way out of its coding: one member, or several after each other."""

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._member = coding.decompressor()
        self._members = 1
        self._made = 0

    def take(self, piece: bytes) -> Iterator[bytes]:
        for at in range(0, len(piece), PIECE_BYTES):
            data = piece[at : at + PIECE_BYTES]
            while data or not (self._member.needs_input or self._member.eof):
                if self._member.eof:
                    self._begin_another()
                made = self._decompressed(data)
                data = self._member.unused_data if self._member.eof else b""
                if made:
                    self._made += len(made)
                    yield made

    def end(self) -> None:
        if not self._member.eof:
            raise BadRequestError(f"The body ends within its {self._coding.name}.")

    def _decompressed(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, PIECE_BYTES)
        except (zlib.error, zstd.ZstdError):
            raise BadRequestError(f"The body is not well-formed {self._coding.name}.") from None

    def _begin_another(self) -> None:
        self._members += 1
        if self._members > MEMBERS + self._made // BYTES_A_MEMBER:
            raise BadRequestError("The body has too many members with next to nothing in them.")
        self._member = self._coding.decompressor()


async def encoded(request: Request, answer: Answer, known: Sequence[str]) -> Answer:
    """Return a document in the coding that the client likes best; other answers as they are.

    Its ETag is then one of its own. A 304 has the ETag that the client asked about.
    """
    accepted = request.header("accept-encoding")
    if not accepted or not known or answer.stream is not None or VARY not in answer.headers:
        return answer
    if answer.status == 304:
        return _asked_about(request, answer, known)
    coding = preferred(accepted, known, worthwhile=len(answer.body) >= LEAST_BYTES)
    if coding is None or not answer.body:
        return answer
    headers = tuple(
        (name, _tagged(value, coding.name) if name == "ETag" else value)
        for name, value in answer.headers
    )
    body = await _compressed(answer.body, coding.compressor())
    return replace(answer, headers=(*headers, ("Content-Encoding", coding.name)), body=body)


def preferred(accepted: str, known: Sequence[str], *, worthwhile: bool) -> Coding | None:
    """Return the coding that Accept-Encoding prefers (RFC 9110 12.5.3), None for none.

    Of those with the same weight, the first known one. What is not worth it is
    compressed only for who refuses anything else.
    """
    given = weights(accepted)
    others = given.get("*", 0.0)
    if not worthwhile and given.get(IDENTITY, given.get("*", 1.0)) > 0:
        return None
    best = max(known, key=lambda name: given.get(name, others))
    weight = given.get(best, others)
    return CODINGS[best] if weight > 0 and weight >= given.get(IDENTITY, 0.0) else None


async def _compressed(body: bytes, compressor: Compressor) -> bytes:
    made = []
    for at in range(0, len(body), PIECE_BYTES):
        if at:
            await trio.lowlevel.checkpoint()
        made.append(compressor.compress(body[at : at + PIECE_BYTES]))
    return b"".join([*made, compressor.flush()])


def _tagged(etag: str, coding: str) -> str:
    return f'{etag[:-1]}.{coding}"'


def _asked_about(request: Request, answer: Answer, known: Sequence[str]) -> Answer:
    asked = request.header("if-none-match") or ""
    etag = dict(answer.headers).get("ETag", '""')
    for tag in [etag, *(_tagged(etag, name) for name in known)]:
        if tag in asked:
            headers = ((name, tag if name == "ETag" else value) for name, value in answer.headers)
            return replace(answer, headers=tuple(headers))
    return answer


async def _one(body: bytes) -> AsyncGenerator[bytes]:
    yield body
