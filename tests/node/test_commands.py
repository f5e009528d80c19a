"""The commands beside `serve`: passwords, keys, and a look at the configuration."""

import io
import os
import pty
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from restms_node import keys_file, users_file
from restms_node.command import main
from restms_node.options import options

SECRET = b"correct horse\n"


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in options():
        monkeypatch.delenv(option.variable, raising=False)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return tmp_path / "users"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def said(monkeypatch: pytest.MonkeyPatch, data: bytes, *arguments: object) -> int:
    """Run a command with this on its standard input, which is no terminal."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return main([str(argument) for argument in arguments])


def test_a_password_is_set(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(monkeypatch, SECRET, "passwd", users, "alice", "--groups", "staff,admins") == 0
    assert said(monkeypatch, b"other", "passwd", users, "bob") == 0
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    found = users_file.read(users.read_bytes()).named
    assert found["alice"].groups == {"staff", "admins"}
    assert users_file.fits(found["alice"].hash, SECRET.strip())
    assert users_file.fits(found["bob"].hash, b"other")
    assert b"correct" not in users.read_bytes()


def test_all_else_in_the_file_stays(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(monkeypatch, SECRET, "passwd", users, "alice", "--groups", "staff")
    old = users.read_text()
    users.write_text(f"# first\n{old}# last\n")
    users.chmod(0o640)
    assert said(monkeypatch, b"new\n", "passwd", users, "alice") == 0
    first, alice, last = users.read_text().splitlines()
    assert (first, last) == ("# first", "# last")
    assert alice.endswith(":staff")
    assert alice not in old
    assert stat.S_IMODE(users.stat().st_mode) == 0o640
    assert said(monkeypatch, b"new\n", "passwd", users, "alice", "--groups", "") == 0
    assert users_file.read(users.read_bytes()).named["alice"].groups == frozenset()
    assert said(monkeypatch, b"", "passwd", users, "alice", "--delete") == 0
    assert users.read_text() == "# first\n# last\n"
    assert [path.name for path in users.parent.iterdir()] == ["users"]


@pytest.mark.parametrize(
    ("data", "arguments", "reason"),
    [
        (b"", ("alice",), "A password has 1 to 1024 bytes"),
        (b"x" * 1025, ("alice",), "A password has 1 to 1024 bytes"),
        (SECRET, ("a:b",), "A user's name has"),
        (SECRET, ("#a",), "A user's name has"),
        (SECRET, ("alice", "--groups", "a:b"), ":2: A name has"),
        (SECRET, ("nobody", "--delete"), 'There is no user "nobody"'),
    ],
)
def test_a_password_that_cannot_be_set_changes_nothing(
    users: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: bytes,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    users.write_text("# nobody\n")
    assert said(monkeypatch, data, "passwd", users, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("restms: ")
    assert reason in error
    assert users.read_text() == "# nobody\n"


def test_a_terminal_is_asked_twice_and_shows_nothing(users: Path) -> None:
    for second, status in ((b"another\n", 1), (SECRET, 0)):
        parent, child = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "restms_node", "passwd", users, "alice"],
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        shown = b""
        for prompt, line in ((b"Password: ", SECRET), (b"Once more: ", second)):
            while prompt not in shown:
                shown += os.read(parent, 4096)
            os.write(parent, line)
        assert process.wait(30) == status
        os.close(parent)
        assert SECRET.strip() not in shown
    assert users_file.fits(users_file.read(users.read_bytes()).named["alice"].hash, SECRET.strip())


def test_a_key_is_made_and_shown_once(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["key", str(keys), "billing", "--groups", "machines", "--expires", "2999-01-31"]
    assert main(arguments) == 0
    prefix, secret = capsys.readouterr().out.strip().split(".")
    (found,) = keys_file.read(keys.read_bytes()).values()
    assert found.hash == keys_file.hash_of(secret)
    assert (found.name, found.groups) == ("billing", {"machines"})
    assert keys.read_text().startswith(f"{prefix}:")
    assert keys.read_text().endswith(":billing:machines:2999-01-31T00:00:00Z\n")
    assert secret not in keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600


def test_several_may_change_a_file_at_a_time(keys: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda name: main(["key", str(keys), name]), "abcdefgh" * 4))
    assert made == [0] * 32
    assert len(keys_file.read(keys.read_bytes())) == 32


def test_keys_are_deleted_by_name_or_one_by_one(
    keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "a", "a", "b"):
        assert main(["key", str(keys), name]) == 0
    first, *_, other = [key.partition(".")[0] for key in capsys.readouterr().out.split()]
    assert main(["key", str(keys), "a", "--delete", first]) == 0
    assert [key.name for key in keys_file.read(keys.read_bytes()).values()] == ["a", "a", "b"]
    assert main(["key", str(keys), "a", "--delete", other]) == 1
    assert 'no such key of "a"' in capsys.readouterr().err
    assert main(["key", str(keys), "a", "--delete"]) == 0
    assert [key.name for key in keys_file.read(keys.read_bytes()).values()] == ["b"]


def test_a_file_that_is_wrong_is_not_changed(
    keys: Path, users: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (keys, users):
        path.write_text("#\nnonsense\n")
    assert main(["key", str(keys), "a"]) == 1
    assert said(monkeypatch, SECRET, "passwd", users, "alice") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"restms: {keys}:2: " in captured.err
    assert f"restms: {users}:2: " in captured.err
    assert keys.read_text() == users.read_text() == "#\nnonsense\n"
    assert main(["key", str(keys / "no"), "a"]) == 1
    assert main(["key", str(keys), "a", "--expires", "soon"]) == 1
    assert main(["key", str(keys), "a", "--expires", "2020-01-31"]) == 1
    assert 'restms: "soon" is no time' in capsys.readouterr().err


def test_a_configuration_is_checked_with_its_files(
    tmp_path: Path,
    users: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "restms.toml"
    text = '[[authenticator]]\ntype = "basic"\nfile = "users"\n'
    config.write_text(text)
    said(monkeypatch, SECRET, "passwd", users, "alice")
    check = ["check-config", "--config", str(config)]
    assert main(check) == 0
    assert capsys.readouterr().out == "OK\n"
    for wrong, reason in (
        (f"\nwait = 5\n{text}", rf"{config}:2: There is no option"),
        ("workers = 0", rf"{config}:1: workers must be"),
        ("[[domain]]\nname = 'a b'", rf"{config}:2: "),
        ('redis = "ftp://x"', "redis"),
        (f'audit_log = "{tmp_path}/no/file"', "no/file cannot be written"),
        (f"{text}[[rule]]\nprincipal = 'a'", rf"{config}:4: The rule 1 has a domain"),
        ('extra_profiles = ["no_such"]', "no_such"),
        ('bind = "0.0.0.0:80"', r"0\.0\.0\.0:80 can be reached from other machines"),
    ):
        config.write_text(wrong)
        assert main(check) == 1
        assert re.search(rf"^restms: .*{reason}.*\n$", capsys.readouterr().err)
    config.write_text(text)
    users.write_text("alice:secret\n")
    assert main(check) == 1
    told = capsys.readouterr().err
    assert told == f"restms: {users}:1: What follows the name is no hash of argon2id.\n"
    users.unlink()
    assert main(check) == 1
    assert f"{users} cannot be read" in capsys.readouterr().err
