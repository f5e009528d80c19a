"""One line for each event, for people and for programs, whatever is in it."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restms_node import logs, request_names
from restms_node.access_log import AccessLog, now
from restms_node.front import shortened
from restms_node.log_thread import MOST_WAITING
from restms_node.logs import FIELDS, Human, Json, Lines

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
HASH = "0123456789abcdef" * 2
BOTH = [Human, Json]


def event(message: str, *of: object, **more: object) -> logging.LogRecord:
    said = {"name": "restms.test", "levelno": logging.ERROR, "levelname": "ERROR"}
    return logging.makeLogRecord({**said, "msg": message, "args": of, **more})


def failed(text: str) -> dict[str, object]:
    return {"exc_info": (ValueError, ValueError(text), None)}


def test_a_line_for_people_has_time_level_logger_and_message() -> None:
    line = Human().format(event("it is %d", 5))
    assert re.fullmatch(rf"{TIME} ERROR restms\.test it is 5", line)


def test_a_line_for_programs_has_them_as_fields() -> None:
    line = json.loads(Json().format(event("it is %d", 5)))
    assert re.fullmatch(TIME, line.pop("time"))
    assert line.pop("pid") > 0
    assert line == {"level": "error", "logger": "restms.test", "message": "it is 5"}


def test_what_was_sent_and_a_stack_trace_do_not_break_a_line() -> None:
    forged = event("sent: %s", "x\r\n2001-01-01 INFO \x1b[2Jforged", **failed("a fault\nof two"))
    line = Human().format(forged)
    told = r"sent: x\\r\\n2001-01-01 INFO \\u001b\[2Jforged\\nValueError: a fault\\nof two"
    assert re.fullmatch(rf"{TIME} ERROR restms\.test {told}", line)
    fields = json.loads(Json().format(forged))
    assert fields["stack"] == "ValueError: a fault\nof two"


@settings(deadline=None)
@given(text=st.text(), fault=st.text())
@pytest.mark.parametrize("lines", BOTH)
def test_any_event_is_one_line(lines: type[Lines], text: str, fault: str) -> None:
    line = lines().format(event("%s", text, **failed(fault)))
    assert len(line.splitlines()) == 1
    if lines is Json:
        assert json.loads(line)["message"] == shortened(text)


@pytest.mark.parametrize("lines", BOTH)
@pytest.mark.parametrize(
    "hash",
    [HASH, HASH.upper(), HASH + HASH[:16], "%30%31" + HASH[2:], HASH[:20]],
    ids=["lower", "upper", "of somebody", "encoded", "most of one"],
)
def test_no_line_has_a_private_uri(lines: type[Lines], hash: str) -> None:
    line = lines().format(event("GET /restms/resource/p%s-1", hash, **failed(f"j{hash}")))
    assert hash not in line
    assert hash[6:] not in line
    assert "/restms/resource/p" in line


@pytest.mark.parametrize("lines", BOTH)
def test_a_line_has_the_name_of_its_request(lines: type[Lines]) -> None:
    def work() -> tuple[str, str, str]:
        # nginx names requests by 32 hexadecimal digits: these are no secret.
        named = request_names.held()
        named.begin({"x-request-id": HASH})
        first = lines().format(event("one"))
        named.begin({})
        second, third = lines().format(event("two")), lines().format(event("three"))
        assert request_names.name() in second
        assert request_names.name() in third
        return first, second, third

    first, *_ = copy_context().run(work)
    assert HASH in first
    assert "request" not in lines().format(event("of none"))


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\n", "ü"])
def test_what_is_no_sane_name_is_none(given: str) -> None:
    made_up = request_names.name_of({"x-request-id": given})
    assert re.fullmatch("[0-9a-f]{16}", made_up)
    assert made_up != request_names.name_of({})


def test_a_line_tells_which_worker_it_comes_from() -> None:
    assert json.loads(Json(3).format(event("x")))["worker"] == 3
    assert re.search(r"ERROR restms\.test \[worker 3, pid \d+\] x$", Human(3).format(event("x")))


def test_further_fields_stand_in_the_line_for_programs() -> None:
    line = event("x", **{FIELDS: {"status": 200, "request_id": "r"}})
    assert json.loads(Json().format(line)).items() >= {"status": 200, "request_id": "r"}.items()
    assert Human().format(line).endswith(" x (request r)")


@pytest.fixture
def handler() -> Iterator[logging.StreamHandler]:
    """The one that is ours, set up anew."""
    root = logging.getLogger()
    before, level, root.handlers = root.handlers, root.level, [logging.NullHandler()]
    ours = logging.StreamHandler()
    ours.setFormatter(Human())
    root.addHandler(ours)
    yield ours
    root.handlers = before
    root.setLevel(level)


@pytest.mark.parametrize("terminal", [True, False])
def test_who_reads_decides_where_nobody_does(
    handler: logging.StreamHandler, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    logs.set_up()
    assert type(handler.formatter) is (Human if terminal else Json)
    for form, lines in (("json", Json), ("human", Human)):
        logs.set_up(form, "debug")
        assert type(handler.formatter) is lines
    assert logging.getLogger("httpx").getEffectiveLevel() == logging.WARNING


@pytest.mark.parametrize(
    ("flags", "environment", "form"),
    [
        ({}, {}, "auto"),
        ({"log_format": "human"}, {"RESTMS_LOG_FORMAT": "json"}, "human"),
        ({}, {"RESTMS_LOG_FORMAT": "json"}, "json"),
        ({"log_format": "loud"}, {}, "auto"),
    ],
)
def test_the_form_is_known_before_the_file_is_read(
    flags: dict[str, str], environment: dict[str, str], form: str
) -> None:
    assert logs.of(flags, environment) == form


def run(folder: Path, *options: str, code: str = "") -> list[str]:
    """The lines on standard error of a process that does not come to serve."""
    what = ["-c", code] if code else ["-m", "restms_node", "serve", *options]
    done = subprocess.run(
        [sys.executable, *what], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr.splitlines()


def test_why_a_node_does_not_start_is_a_line_as_well(tmp_path: Path) -> None:
    (line,) = run(tmp_path, "--max-waits", "0")  # standard error is no terminal here
    told = json.loads(line)
    assert (told["level"], told["logger"]) == ("critical", "restms")
    assert told["message"].startswith("--max-waits must be ")


def test_so_is_what_nobody_foresaw_and_what_python_warns_of(tmp_path: Path) -> None:
    code = f"""
import warnings
from restms_node import logs
logs.set_up("json")
warnings.warn("of {HASH}")
raise ZeroDivisionError("of {HASH}")
"""
    warning, end = [json.loads(line) for line in run(tmp_path, code=code)]
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert end["message"] == "the process ends: ZeroDivisionError"
    assert end["stack"].endswith("ZeroDivisionError: of 0123…")
    assert HASH not in str((warning, end))


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(Human().format(record).partition("tests.requests ")[2])


def test_lines_of_requests_that_nobody_takes_are_left_out_and_counted() -> None:
    waiting, kept = 0, Kept()
    logger = logging.getLogger("tests.requests")
    logger.setLevel(logging.INFO)
    logger.addHandler(kept)
    log = AccessLog(logger, lambda: waiting)
    for waiting in (0, MOST_WAITING, MOST_WAITING, 0):
        log.answered(f"r{waiting}", "GET" * 999, "/x", 200, now(), principal="alice")
    first, left_out, second = kept.lines
    assert re.fullmatch(r"(GET){85}G /x 200 0\.\d{6}s - alice \(request r0\)", first)
    assert left_out == "lines of requests that were left out: 2"
    assert " /x 200 " in second
