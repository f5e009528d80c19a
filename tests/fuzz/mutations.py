"""Inputs that are nearly right: pieces of good ones, changed, repeated, cut and put together."""

from collections.abc import Iterator, Sequence
from random import Random

MOST_BYTES = 4096
NASTY = (
    b"",
    b"\0",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b'"',
    b"'",
    b"\\",
    b",",
    b";",
    b"=",
    b"%",
    b"%00",
    b"%0d%0a",
    b"..",
    b"/",
    b"//",
    b"#",
    b"*",
    b"&",
    b"&lt;",
    b"<",
    b"]]>",
    b"<!--",
    b"<!DOCTYPE a>",
    b"-1",
    b"0",
    b"1e999",
    b"99999999999999999999",
    b"NaN",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
    b"\\ud800",
    b"\xa1",
    b"\xbf",
    b"\xff\xff",
    b"\x9f",
    b"\x5f",
    b"\xc0",
    b"\xf6",
    b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
)


def inputs(random: Random, seeds: Sequence[bytes]) -> Iterator[bytes]:
    """Yield inputs without end: what is near the seeds, and near what was yielded before."""
    pool = [*seeds]
    yield from seeds
    while True:
        made = mutated(random, random.choice(pool), random.choice(pool))[:MOST_BYTES]
        if random.random() < 0.02:
            pool.append(made)
            del pool[: max(0, len(pool) - 500)]
        yield made


def mutated(random: Random, one: bytes, other: bytes) -> bytes:
    """Change an input in a few places; `other` is where some of what is put in comes from."""
    data = bytearray(one)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 8))):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((0, 1, 1, 2, 4, 8, 32)))
        match random.randrange(7):
            case 0:
                del data[start:end]
            case 1:
                data[start:end] = random.choice(NASTY)
            case 2:
                data[start:start] = data[start:end] * random.choice((1, 2, 50))
            case 3:
                begin = random.randint(0, len(other))
                data[start:end] = other[begin : begin + random.choice((1, 4, 16, 64))]
            case 4 if data:
                data[start % len(data)] = random.randrange(256)
            case 5 if data:
                data[start % len(data)] ^= 1 << random.randrange(8)
            case _:
                del data[start:]
                data += other[random.randint(0, len(other)) :]
    return bytes(data)
