"""Names and passwords: what is read, what is checked, and how often."""

import base64
from collections.abc import Callable
from itertools import count
from pathlib import Path

import argon2
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from restms_cluster.errors import UnauthorizedError, UnavailableError
from restms_node import authenticator_basic, users_file, watched_file
from restms_node.access import Access
from restms_node.authenticator_basic import BasicAuthenticator, decoded
from restms_node.principals import ANONYMOUS, Principal
from restms_node.watched_file import LineError
from tests.access.conftest import basic, replace
from tests.waiting import until

QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
ALICE, BOB = (f"{n}:{QUICK.hash(f'{n} knows')}" for n in ("alice", "bob"))
Counted = Callable[[], list[str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# Who comes in\n\n{ALICE}:staff, admins\n{BOB}\n")
    return path


@pytest.fixture
def access(path: Path) -> Access:
    return Access([BasicAuthenticator(path)])


async def who(access: Access, *credentials: str) -> Principal:
    return await access.principal({"authorization": basic(*credentials)}, None)


async def refused(access: Access, authorization: str) -> str:
    with pytest.raises(UnauthorizedError) as caught:
        await access.principal({"authorization": authorization}, None)
    assert caught.value.challenges == ('Basic realm="restms", charset="UTF-8"',)
    return caught.value.text


async def test_who_knows_the_password_comes_in(access: Access) -> None:
    groups = frozenset(("staff", "admins"))
    assert await who(access, "alice", "alice knows") == Principal("alice", groups, method="basic")
    assert await who(access, "bob", "bob knows") == Principal("bob", method="basic")


async def test_who_brings_nothing_is_anonymous(access: Access) -> None:
    assert await access.principal({}, None) == ANONYMOUS
    assert access.known({}, None) == ANONYMOUS


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice", "bob knows"),
        basic("alice", ""),
        basic("alice", "alice knows" + "\0"),
        basic("nobody", "alice knows"),
        basic("", ""),
        basic("alice", "x" * 1025),
        basic("alice", "alice knows") + ", " + basic("bob", "bob knows"),
        "Basic",
        "Basic ",
        "Basic ====",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Digest username=alice",
        "Bearer alice",
        "",
    ],
)
async def test_anything_else_is_refused_by_the_same_sentence(
    access: Access, authorization: str
) -> None:
    assert await refused(access, authorization) == "The credentials are not right."


async def test_what_was_right_is_not_checked_again(access: Access, counted: Counted) -> None:
    for _ in range(3):
        await who(access, "alice", "alice knows")
    headers = {"authorization": basic("alice", "alice knows")}
    assert access.known(headers, None) == await access.principal(headers, None)
    assert len(counted()) == 1


async def test_what_was_wrong_is_checked_again(access: Access, counted: Counted) -> None:
    for _ in range(3):
        await refused(access, basic("alice", "guess"))
    assert len(counted()) == 3


async def test_who_is_unknown_costs_as_much_as_who_is_known(
    access: Access, counted: Counted
) -> None:
    await refused(access, basic("alice", "guess"))
    await refused(access, basic("nobody", "guess"))
    known, unknown = (argon2.extract_parameters(hashed) for hashed in counted())
    assert known == unknown


async def test_no_password_fits_the_decoy(path: Path, access: Access, counted: Counted) -> None:
    assert argon2.extract_parameters(users_file.read(b"").decoy).type is argon2.Type.ID
    assert users_file.read(b"").decoy != users_file.read(b"").decoy


async def test_the_same_credentials_are_checked_once_at_a_time(
    access: Access, counted: Counted
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(who, access, "alice", "alice knows")
    assert len(counted()) == 1


async def test_who_goes_while_he_is_checked_leaves_it_to_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator, credentials = BasicAuthenticator(path), basic("bob", "bob knows")[6:]
    found: list[Principal | None] = []

    async def ask(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await authenticator.check(credentials))

    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()
        await authenticator._limiter.acquire_on_behalf_of("one")
        await authenticator._limiter.acquire_on_behalf_of("other")
        nursery.start_soon(ask, first)
        await until(lambda: authenticator._limiter.statistics().tasks_waiting == 1)
        nursery.start_soon(ask, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        authenticator._limiter.release_on_behalf_of("one")
        authenticator._limiter.release_on_behalf_of("other")
    assert found == [Principal("bob", method="basic")]


async def test_only_so_many_wait_for_their_check(
    access: Access, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator_basic, "MOST_WAITING", 3)
    authenticator = BasicAuthenticator(path)
    waiting = authenticator._limiter.statistics
    async with trio.open_nursery() as nursery:
        for other in ("one", "other"):
            await authenticator._limiter.acquire_on_behalf_of(other)
        for number in range(3):
            nursery.start_soon(authenticator.check, basic("alice", str(number))[6:])
        await until(lambda: waiting().tasks_waiting == 3)
        with pytest.raises(UnavailableError):
            await authenticator.check(basic("alice", "one more")[6:])
        for other in ("one", "other"):
            authenticator._limiter.release_on_behalf_of(other)


async def test_a_change_of_the_file_counts_at_once_also_for_who_is_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    authenticator = BasicAuthenticator(path)
    access = Access([authenticator])
    assert await who(access, "alice", "alice knows")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run)
        replace(path, "alice:no hash\n")
        await until(lambda: "is kept" in caplog.text)
        assert f"{path}:1: What follows the name is no hash of argon2id." in caplog.text
        assert await who(access, "alice", "alice knows")
        replace(path, f"{BOB}\n")
        await until(lambda: "alice" not in authenticator._file.value.named)
        await refused(access, basic("alice", "alice knows"))
        assert await who(access, "bob", "bob knows")
        path.rename(path.with_name("gone"))  # noqa: ASYNC240, a moment
        await until(lambda: "cannot be read" in caplog.text)
        assert await who(access, "bob", "bob knows")
        nursery.cancel_scope.cancel()
    assert caplog.text.count("is kept") == 2  # each fault is told once


async def test_what_was_found_in_the_old_file_is_not_remembered_with_the_new(
    access: Access,
) -> None:
    remembered = access._remembered
    generation = remembered.generation
    remembered.forget()
    remembered.keep(b"mac", Principal("alice"), generation)
    assert remembered.get(b"mac") is None


async def test_what_is_found_in_the_old_file_is_not_taken_over_after_the_change(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_file, "LOOK_SECONDS", 0.01)
    authenticator = BasicAuthenticator(path)
    access = Access([authenticator])
    right = basic("alice", "alice knows")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(access.run)
        for other in ("one", "other"):
            await authenticator._limiter.acquire_on_behalf_of(other)
        nursery.start_soon(who, access, "alice", "alice knows")
        await until(lambda: authenticator._limiter.statistics().tasks_waiting == 1)
        replace(path, f"{BOB}\n")
        await until(lambda: "alice" not in authenticator._file.value.named)
        nursery.start_soon(refused, access, right.replace("Basic", "BASIC"))
        await until(lambda: authenticator._limiter.statistics().tasks_waiting == 2)
        for other in ("one", "other"):
            authenticator._limiter.release_on_behalf_of(other)
        await until(lambda: not authenticator._limiter.statistics().borrowers)
        await refused(access, right)
        nursery.cancel_scope.cancel()


@given(name=st.text().filter(lambda text: ":" not in text), password=st.binary(max_size=1024))
def test_any_name_and_password_can_be_sent(name: str, password: bytes) -> None:
    try:
        plain = name.encode() + b":" + password
    except UnicodeEncodeError:
        return
    assert decoded(base64.b64encode(plain).decode()) == (name, password)


@given(st.text())
def test_any_credentials_are_a_pair_or_nothing(credentials: str) -> None:
    pair = decoded(credentials)
    assert pair is None or ":" not in pair[0]


LINE = st.sampled_from([ALICE, BOB, "x", ":", "#", "a:$argon2id$", ALICE.replace("2id", "2i")])


@given(st.lists(st.one_of(st.text(), LINE)).map("\n".join) | st.binary())
def test_any_file_is_read_or_refused_by_its_line(text: str | bytes) -> None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    try:
        users = users_file.read(data)
    except LineError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1  # noqa: PT017, either is right
        assert str(error).endswith(".")  # noqa: PT017
    else:
        assert all(":" not in name and user.hash for name, user in users.named.items())


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{ALICE}\n\n{ALICE}", 3, "twice"),
        (f"# x\nalice:{QUICK.hash('x').replace('argon2id', 'argon2d')}", 2, "not of argon2id"),
        ("alice:$2b$12$abcdefghijklmnopqrstuv", 1, "no hash"),
        ("alice:secret", 1, "no hash"),
        ("alice", 1, "no hash"),
        (f"{ALICE}:a,,b", 1, "A name has"),
        (f"{ALICE}:a:b", 1, "A name has"),
        (BOB.removeprefix("bob"), 1, "A name has"),
        (ALICE.replace("m=64", "m=99999999"), 1, "too much"),
        ("\udcff", 1, "UTF-8"),
    ],
    ids=count(),  # they have hashes in them, made anew in each process
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(LineError, match=reason) as caught:
        users_file.read(text.encode("utf-8", "surrogateescape"))
    assert caught.value.line == line


async def test_the_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from restms_node.remembered import Remembered

    remembered = Remembered(most=2)
    macs = [remembered.mac(text) for text in "abc"]
    for mac in macs:
        remembered.keep(mac, Principal("x"), 0)
    assert [remembered.get(mac) is None for mac in macs] == [True, False, False]
    remembered.get(macs[1])
    remembered.keep(macs[0], Principal("x"), 0)  # in the place of who came longest ago
    assert [remembered.get(mac) is None for mac in macs] == [False, False, True]
    assert remembered.mac("a") != Remembered().mac("a")
    ended = Principal("y", expires=1.0)
    remembered.keep(macs[0], ended, 0)
    assert remembered.get(macs[0]) is None
    monkeypatch.setattr("restms_node.remembered.KEPT_SECONDS", 0.0)
    remembered.keep(macs[0], Principal("x"), 0)
    assert remembered.get(macs[0]) is None
