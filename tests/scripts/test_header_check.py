"""A stub and its script cannot drift apart."""

from dataclasses import dataclass

import pytest

from restms_cluster.formats import DomainUpgrade
from restms_cluster.scripts import Library, Transition, check
from restms_cluster.transitions import TRANSITIONS


def test_every_script_has_a_stub_that_fits() -> None:
    from importlib.resources import files

    scripts = {
        path.name.removesuffix(".lua")
        for path in files("restms_scripts").iterdir()
        if path.name.endswith(".lua") and not path.name.startswith(("lib_", "profile_"))
    }
    assert scripts == {stub.script() for stub in (*TRANSITIONS, DomainUpgrade)}


def test_a_stub_with_another_field_is_refused() -> None:
    @dataclass(frozen=True)
    class FeedRead(Transition):
        pipe: str

    with pytest.raises(TypeError, match=r"feed_read\.lua"):
        check(FeedRead)


def test_includes_are_put_in_once_and_whole() -> None:
    text = Library(["-- the Lua of a profile"]).text("message_publish")
    assert text.startswith("#!lua\n")
    assert "--@ include" not in text
    assert text.count("-- the Lua of a profile") == 1
