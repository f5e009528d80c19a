"""What a message asks of its delivery, read from its attributes."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import BadRequestError
from restms_cluster.terms import LONGEST_MILLISECONDS, PLAIN, Terms, read_terms, read_window

zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.integers(0, 7_000_000_000_000).flatmap(
    lambda milliseconds: zones.map(lambda zone: datetime.fromtimestamp(milliseconds / 1000, zone))
)


def test_most_messages_ask_for_nothing() -> None:
    assert read_terms({"address": "a", "priority": "", "expiration": ""}) == PLAIN
    assert str(PLAIN) == ""
    assert read_terms({"priority": "0"}) == PLAIN


@pytest.mark.parametrize(
    ("attributes", "terms", "text"),
    [
        ({"expiration": "1500"}, Terms(life=1500), "1500 0 -"),
        ({"expiration": "0"}, Terms(life=0), "0 0 -"),
        ({"priority": "9"}, Terms(priority=9), "- 9 -"),
        ({"delay": "250", "priority": "4"}, Terms(priority=4, delay=250), "- 4 +250"),
        ({"deliver_at": "1970-01-01T00:00:01.5Z"}, Terms(at=1500), "- 0 1500"),
        ({"deliver_at": "1960-01-01T00:00:00Z"}, Terms(at=0), "- 0 0"),
        ({"deliver_at": "2030-01-31t12:00:00+02:00"}, Terms(at=1896084000000), "- 0 1896084000000"),
    ],
)
def test_terms_are_read_and_written(attributes: dict[str, str], terms: Terms, text: str) -> None:
    assert read_terms(attributes) == terms
    assert str(terms) == text


@given(moments)
def test_every_moment_with_its_zone_is_understood(moment: datetime) -> None:
    wanted = int(moment.astimezone(UTC).timestamp() * 1000)
    found = read_terms({"deliver_at": moment.isoformat()}).at
    assert found is not None
    assert abs(found - wanted) <= 1


@pytest.mark.parametrize("name", ["expiration", "delay"])
@pytest.mark.parametrize(
    "value", ["-1", "1.5", "60s", " 1", "1e3", "٣", "x", str(LONGEST_MILLISECONDS + 1), "9" * 40]
)
def test_what_is_no_number_of_milliseconds_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadRequestError, match=f"{name} is a number of milliseconds"):
        read_terms({name: value})


@pytest.mark.parametrize("value", ["10", "-1", "high", "4.0", "٣", " 1"])
def test_what_is_no_priority_is_refused(value: str) -> None:
    with pytest.raises(BadRequestError, match="0 to 9"):
        read_terms({"priority": value})


@pytest.mark.parametrize(
    "value",
    [
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-13-31T12:00:00Z",
        "2030-01-31T25:00:00Z",
        "2030-01-31T12:00:00+99:00",
        "20300131T120000Z",
        "2030-W05-4T12:00:00Z",
        "tomorrow",
        "1896087600000",
        "2030-01-31T12:00:00.1234567Z",
    ],
)
def test_what_is_no_moment_is_refused(value: str) -> None:
    with pytest.raises(BadRequestError, match="date and time with its zone"):
        read_terms({"deliver_at": value})


def test_a_delay_and_a_moment_contradict_each_other() -> None:
    with pytest.raises(BadRequestError, match="not both"):
        read_terms({"delay": "1", "deliver_at": "2030-01-31T12:00:00Z"})


@given(st.text(max_size=30), st.sampled_from(["expiration", "priority", "delay", "deliver_at"]))
def test_any_text_is_read_or_refused(text: str, name: str) -> None:
    with contextlib.suppress(BadRequestError):
        assert isinstance(read_terms({name: text}), Terms)


@pytest.mark.parametrize(
    ("text", "window"),
    [(None, None), ("", ""), ("0", ""), ("60", "60"), ("0.5", "0.5"), ("0.000", "")],
)
def test_a_window_is_a_number_of_seconds(text: str | None, window: str | None) -> None:
    assert read_window(text) == window


@pytest.mark.parametrize("text", ["-1", "x", "1e3", "0.0001", "99999999", "1,5"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="number of seconds"):
        read_window(text)
