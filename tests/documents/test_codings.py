"""Content codings: what comes out is what went in, and never more than it may be."""

import gzip
import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import AsyncGenerator

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError, RestMSError, TooLargeError
from restms_node.codings import (
    CODINGS,
    GROWS_FREELY,
    MEMBERS,
    MOST_GROWTH,
    PIECE_BYTES,
    decoded,
    decoded_whole,
    preferred,
)
from restms_node.codings import zstd as zstandard

LIMIT = 1 << 20
COMPRESS = {"gzip": gzip.compress, "zstd": zstandard.compress}
BOTH = pytest.mark.parametrize("name", CODINGS)


async def _pieces(pieces: list[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


def out_of(name: str, pieces: list[bytes], limit: int = LIMIT) -> tuple[bytes, object]:
    """Return what comes out, and the error that ends it."""

    async def read() -> tuple[bytes, object]:
        found = b""
        try:
            async for piece in decoded(_pieces(pieces), CODINGS[name], limit):
                assert len(piece) <= PIECE_BYTES
                found += piece
        except RestMSError as error:
            return found, type(error)
        return found, None

    return trio.run(read)


@BOTH
@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.data())
def test_what_went_in_comes_out_however_it_is_cut(name, members, data):
    body = b"".join(COMPRESS[name](member) for member in members)
    cut = data.draw(st.integers(0, len(body)))
    single = [body[at : at + 1] for at in range(len(body))]
    for pieces in ([body], [body[:cut], body[cut:]], single):
        assert out_of(name, pieces) == (b"".join(members), None)


@BOTH
def test_a_long_body_comes_out_in_pieces(name):
    noise = random.Random(1)
    data = b"".join(noise.randbytes(8) + bytes(range(100)) for _ in range(10_000))
    assert out_of(name, [COMPRESS[name](data)], 2 * len(data)) == (data, None)
    compressed = COMPRESS[name](data * 3 + b"x")
    assert out_of(name, [compressed], 3 * len(data) + 1) == (data * 3 + b"x", None)
    assert out_of(name, [compressed], 3 * len(data))[1] is TooLargeError


@BOTH
def test_a_body_grows_only_so_much(name):
    free = b"x" * GROWS_FREELY
    assert out_of(name, [COMPRESS[name](free)]) == (free, None)
    body = COMPRESS[name](free * 100)
    found, error = out_of(name, [body], 200 * GROWS_FREELY)
    assert error is TooLargeError
    assert len(found) <= max(GROWS_FREELY, MOST_GROWTH * len(body))


@BOTH
@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=100))
def test_a_body_that_is_cut_short_is_refused(name, data):
    body = COMPRESS[name](data)
    for size in range(len(body)):
        found, error = out_of(name, [body[:size]])
        assert data.startswith(found)
        assert error is BadRequestError


@BOTH
@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=100))
def test_garbage_is_refused(name, garbage):
    assert out_of(name, [COMPRESS[name](b"text") + garbage])[1] in (BadRequestError, None)
    assert out_of(name, [garbage])[1] in (BadRequestError, None)


@BOTH
def test_other_bytes_are_refused(name):
    assert out_of(name, [b"<restms/>"]) == (b"", BadRequestError)
    assert out_of(name, [b""]) == (b"", BadRequestError)


@BOTH
async def test_a_bomb_is_given_up_at_the_limit(name):
    bomb = COMPRESS[name](bytes(1 << 25))
    assert len(bomb) < 1 << 16
    tracemalloc.start()
    before = time.process_time()
    with pytest.raises(TooLargeError):
        await decoded_whole(bomb, CODINGS[name], LIMIT)
    assert time.process_time() - before < 1
    assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    tracemalloc.stop()


@BOTH
def test_a_body_of_very_many_members_is_refused(name):
    body = COMPRESS[name](b"")
    assert out_of(name, [body * MEMBERS]) == (b"", None)
    assert out_of(name, [body * (MEMBERS + 1)]) == (b"", BadRequestError)
    before = time.process_time()
    assert out_of(name, [body * 100_000]) == (b"", BadRequestError)
    assert time.process_time() - before < 1


def test_a_frame_that_wants_much_memory_is_refused():
    wide = zstandard.ZstdCompressor(options={zstandard.CompressionParameter.window_log: 24})
    body = wide.compress(b"x") + wide.flush()
    assert out_of("zstd", [body]) == (b"", BadRequestError)


def test_deflate_is_not_gzip():
    assert out_of("gzip", [zlib.compress(b"text")]) == (b"", BadRequestError)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.9", "gzip"),
        ("*", "zstd"),
        ("zstd;q=0, *", "gzip"),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("gzip;q=0.001", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("identity;q=0", None),
        ("identity;q=0, *", "zstd"),
        ("br", None),
        ("gzip;q=x", None),
        (",;,", None),
        ("gzip ; q=0.5 , zstd ; q=0.4", "gzip"),
    ],
)
def test_the_client_s_weights_choose(accepted, chosen):
    found = preferred(accepted, ("zstd", "gzip"), worthwhile=True)
    assert (found.name if found else None) == chosen


def test_what_is_small_is_compressed_only_for_who_takes_nothing_else():
    for accepted in ("gzip", "*", "gzip, identity;q=0.1"):
        assert preferred(accepted, ("gzip",), worthwhile=False) is None
    for accepted in ("gzip, identity;q=0", "gzip, *;q=0"):
        assert preferred(accepted, ("gzip",), worthwhile=False) is CODINGS["gzip"]


SKIPPED = struct.pack("<II", 0x184D2A50, 0)  # a frame of zstd that says nothing
EMPTY_BLOCKS = {
    "zstd": b"\x28\xb5\x2f\xfd\x00\x68" + b"\0\0\0" * 600_000 + b"\1\0\0",
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    + b"\0\0\0\xff\xff" * 400_000
    + b"\1\0\0\xff\xff"
    + bytes(8),
}


def test_frames_that_say_nothing_are_counted_too():
    document = COMPRESS["zstd"](b"text")
    assert out_of("zstd", [SKIPPED * 10 + document]) == (b"text", None)
    assert out_of("zstd", [SKIPPED * 100_000 + document]) == (b"", BadRequestError)
    endless = struct.pack("<II", 0x184D2A50, 0xFFFFFFFF)
    assert out_of("zstd", [endless + bytes(1000)]) == (b"", BadRequestError)


@BOTH
def test_blocks_that_say_nothing_take_little_time(name):
    before = time.process_time()
    assert out_of(name, [EMPTY_BLOCKS[name]]) == (b"", None)
    assert time.process_time() - before < 1
