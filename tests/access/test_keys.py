"""Keys for programs: what is read, who comes in, and until when."""

import time
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import UnauthorizedError
from restms_node import keys_file
from restms_node.access import Access
from restms_node.authenticator_keys import KeysAuthenticator
from restms_node.principals import Principal
from restms_node.watched_file import LineError

SECRETS = [keys_file.new_key() for _ in range(4)]
(FIRST, SECOND, PAST, FUTURE) = (f"{prefix}.{secret}" for prefix, secret in SECRETS)
LINES = (
    keys_file.line_of(*SECRETS[0], "billing", "machines,writers", ""),
    keys_file.line_of(*SECRETS[1], "billing", "", ""),
    keys_file.line_of(*SECRETS[2], "old", "", "2020-01-31"),
    keys_file.line_of(*SECRETS[3], "new", "", "2999-01-31T01:00:00+01:00"),
)


@pytest.fixture
def access(tmp_path: Path) -> Access:
    path = tmp_path / "keys"
    path.write_text("\n".join(LINES))
    return Access([KeysAuthenticator(path)])


async def who(access: Access, key: str) -> Principal:
    return await access.principal({"authorization": f"Bearer {key}"}, None)


async def test_who_has_a_key_comes_in(access: Access) -> None:
    groups = frozenset(("machines", "writers"))
    assert await who(access, FIRST) == Principal("billing", groups, method="keys")
    assert await who(access, SECOND) == Principal("billing", method="keys")
    until = datetime(2999, 1, 31, tzinfo=UTC).timestamp()
    assert await who(access, FUTURE) == Principal("new", expires=until, method="keys")


@pytest.mark.parametrize(
    "key",
    [
        PAST,
        FIRST[:-1],
        FIRST + "A",
        FIRST.replace(".", ".."),
        SECRETS[0][0] + "." + SECRETS[1][1],
        "rk00000000." + SECRETS[0][1],
        SECRETS[0][0],
        SECRETS[0][1],
        keys_file.hash_of(SECRETS[0][1]),
        f"{SECRETS[0][0]}.{keys_file.hash_of(SECRETS[0][1])}",
        f"{FIRST}, Bearer {SECOND}",
        f"{FIRST} {SECOND}",
        "",
        ".",
        "\u00e9" * 43,
    ],
    ids=count(),  # they have keys in them, made anew in each process
)
async def test_any_other_key_is_refused(access: Access, key: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        await who(access, key)
    assert caught.value.text == "The credentials are not right."
    assert caught.value.challenges == ('Bearer realm="restms"',)


async def test_a_key_ends_also_for_who_is_remembered(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await who(access, FUTURE)
    monkeypatch.setattr(time, "time", lambda: 1e11)
    with pytest.raises(UnauthorizedError):
        await who(access, FUTURE)


def test_a_secret_is_as_long_as_it_is_random() -> None:
    prefix, secret = keys_file.new_key()
    assert keys_file.split(f"{prefix}.{secret}") == (prefix, secret)
    assert len({keys_file.new_key() for _ in range(100)}) == 100
    assert secret not in keys_file.line_of(prefix, secret, "n", "", "")


@given(st.text())
def test_any_text_is_a_key_or_none(text: str) -> None:
    parts = keys_file.split(text)
    assert parts is None or ".".join(parts) == text


@given(
    st.lists(st.one_of(st.text(), st.sampled_from([*LINES, "#", ":", LINES[0] + "x"]))).map(
        "\n".join
    )
    | st.binary()
)
def test_any_file_is_read_or_refused_by_its_line(text: str | bytes) -> None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    try:
        keys = keys_file.read(data)
    except LineError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1  # noqa: PT017, either is right
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert all(key.name and len(key.hash) == 64 for key in keys.values())


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{LINES[0]}\n#\n{LINES[0]}", 3, "twice"),
        ("\n" + FIRST, 2, "prefix"),
        (f"abcd:{SECRETS[0][1]}:name", 1, "no SHA-256"),
        (f"{LINES[1]}::soon", 1, "no time such as"),
        (f"{LINES[1]}:a,", 1, "A name has"),
        (LINES[1].removesuffix("billing"), 1, "A name has"),
    ],
    ids=count(),  # they have keys in them, made anew in each process
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(LineError, match=reason) as caught:
        keys_file.read(text.encode())
    assert caught.value.line == line
    assert SECRETS[0][1] not in str(caught.value)
