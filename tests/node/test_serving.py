"""What the serving of connections tells of, and how often."""

import logging

import pytest

from restms_node import serving
from restms_node.serving import Shortage


def line() -> logging.LogRecord:
    """What Trio logs when there is no file for a connection."""
    error = OSError(24, "Too many open files")
    return logging.LogRecord("trio", logging.ERROR, "", 1, "EMFILE", (), (OSError, error, None))


def test_that_files_are_short_is_told_in_one_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tells = Shortage()
    first = line()
    assert tells(first)
    assert first.exc_info is None
    assert not tells(line())
    monkeypatch.setattr(serving, "SHORTAGE_SECONDS", 0)
    assert tells(line())
