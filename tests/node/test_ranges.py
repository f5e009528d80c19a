"""Ranges, beside Python's slices."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restms_node.conditions import etag, http_date
from restms_node.ranges import UnsatisfiableError, requested, still

DATA = bytes(range(100))
NUMBERS = st.integers(0, 120) | st.integers(0, 10**30)


def read(value: str, data: bytes = DATA) -> bytes | None:
    """The bytes that a client gets for a range; None for the whole content."""
    part = requested(value, len(data))
    return None if part is None else data[part[0] : part[1] + 1]


@given(first=NUMBERS, last=NUMBERS)
@example(first=10**18 + 1, last=10**18)
def test_from_one_byte_to_another_is_a_slice(first: int, last: int) -> None:
    value = f"bytes={first}-{last}"
    if last < first:
        assert read(value) is None
    elif first >= len(DATA):
        with pytest.raises(UnsatisfiableError):
            read(value)
    else:
        assert read(value) == DATA[first : last + 1]


@given(first=NUMBERS)
def test_from_a_byte_to_the_end_is_a_slice(first: int) -> None:
    if first >= len(DATA):
        with pytest.raises(UnsatisfiableError):
            read(f"bytes={first}-")
    else:
        assert read(f"bytes={first}-") == DATA[first:]


@given(length=NUMBERS)
def test_the_last_so_many_bytes_are_a_slice(length: int) -> None:
    if length == 0:
        with pytest.raises(UnsatisfiableError):
            read("bytes=-0")
    else:
        assert read(f"bytes=-{length}") == DATA[-length:]


@given(value=st.text() | st.from_regex(r"bytes=[0-9, -]*"), size=st.integers(0, 200))
@example(value="bytes=" + "9" * 100_000 + "-", size=1)
@example(value="bytes=" + "," * 100_000 + "x", size=1)
def test_any_text_is_a_range_within_the_content_or_none(value: str, size: int) -> None:
    try:
        part = requested(value, size)
    except UnsatisfiableError:
        return
    assert part is None or 0 <= part[0] <= part[1] < size


@pytest.mark.parametrize(
    "value",
    ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1", "lines=1-2", "bytes=0-1,3-4"],
)
def test_what_is_not_one_range_of_bytes_is_ignored(value: str) -> None:
    assert read(value) is None


@pytest.mark.parametrize("value", ["Bytes=1-2", " bytes = 1-2 ", "bytes=,1-2,", "bytes=001-002"])
def test_a_range_may_be_written_in_several_ways(value: str) -> None:
    assert read(value) == DATA[1:3]


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"])
def test_an_empty_content_has_no_ranges(value: str) -> None:
    assert requested(value, 0) is None


def test_a_part_belongs_to_the_version_that_it_names() -> None:
    version = 1_700_000_000_000_000
    tag, later = etag(version, "raw"), version + 1_000_000
    assert still(None, tag, version)
    assert still(tag, tag, version)
    assert still(http_date(version), tag, version)
    for other in (f"W/{tag}", etag(later, "raw"), http_date(later), http_date(version)[:-1], ""):
        assert not still(other, tag, version)
