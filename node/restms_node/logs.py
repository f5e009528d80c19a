"""The log: one line on standard error for each event, for people or for programs.

For people: time (UTC), level, logger, message. For programs: a JSON object, whose fields
docs/operations.md lists. Whatever was logged, by whatever library, its line has no line
break within it, no private URI that could be used, and the name of the request that it
comes of.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from restms_node import request_names
from restms_node.front import shortened

AUTO, JSON, HUMAN = "auto", "json", "human"
FORMATS = (AUTO, JSON, HUMAN)

TELL_TOO_MUCH = ("hpack", "httpx", "httpcore", "urllib3")
"""Libraries that would log headers, credentials among them, or a line for every request."""

FIELDS = "fields"
"""The attribute of a record that has further fields of its line: `extra={FIELDS: {...}}`."""

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_log = logging.getLogger("restms")


class Lines(logging.Formatter):
    """What both forms have in common."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, worker: int | None = None) -> None:
        """`worker` is which of several this process is, from 1."""
        super().__init__()
        self.converter = time.gmtime
        self._worker = worker

    def message(self, record: logging.LogRecord) -> str:
        """Return what is said, without what nobody may see."""
        return shortened(record.getMessage())

    def stack(self, record: logging.LogRecord) -> str:
        """Return the stack trace, if there is one."""
        told = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            told.append(record.stack_info)
        return shortened("\n".join(told))


class Human(Lines):
    """Writes time, level, logger and message, then of which request and which worker it comes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a stack trace, or what somebody sent, does not break it."""
        begin = f"{self.formatTime(record)} {record.levelname} {record.name}"
        worker = "" if self._worker is None else f" [worker {self._worker}, pid {os.getpid()}]"
        request = _request(record)
        told = f" {self.message(record)}" + (f" (request {request})" if request else "")
        if stack := self.stack(record):
            told += "\n" + stack
        return begin + worker + _UNSEEN.sub(_escaped, told)


class Json(Lines):
    """Writes a JSON object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        if request := _request(record):
            line["request_id"] = request
            if trace := request_names.trace():
                line["trace_id"] = trace
        line |= getattr(record, FIELDS, {})
        line["pid"] = os.getpid()
        if self._worker is not None:
            line["worker"] = self._worker
        if stack := self.stack(record):
            line["stack"] = stack
        return json.dumps(line)


def set_up(form: str = AUTO, level: str = "info", worker: int | None = None) -> None:
    """Log so from now on; once more, where more has become known."""
    lines = _lines(form, worker)
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler.formatter, Lines)]
    if not ours:
        if not root.handlers:  # else somebody else looks after the log: a test does
            logging.captureWarnings(True)  # noqa: FBT003, the standard library's signature
            sys.excepthook = _unforeseen
        new = logging.StreamHandler()
        new.setFormatter(lines)
        logging.basicConfig(handlers=[new])
    for handler in ours:
        handler.setFormatter(lines)
    root.setLevel(level.upper())
    for name in TELL_TOO_MUCH:
        logging.getLogger(name).setLevel(logging.WARNING)


def of(given: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return the form that flags or environment ask for, before it is known what the file does."""
    form = given.get("log_format") or environment.get("RESTMS_LOG_FORMAT") or AUTO
    return form if form in FORMATS else AUTO


def fail(sentence: str) -> None:
    """Tell why the command fails: in the log where programs read that, else to who called it."""
    handlers = logging.getLogger().handlers
    if any(isinstance(handler.formatter, Json) for handler in handlers):
        _log.critical("%s", sentence)
    else:
        print(f"restms: {sentence}", file=sys.stderr)  # noqa: T201


def _request(record: logging.LogRecord) -> str:
    # A thread that writes for others has no request of its own.
    name: str = getattr(record, FIELDS, {}).get("request_id", "")
    return name or request_names.name()


def _lines(form: str, worker: int | None) -> Lines:
    people = sys.stderr.isatty() if form == AUTO else form == HUMAN
    return Human(worker) if people else Json(worker)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _ESCAPED.get(character) or f"\\u{ord(character):04x}"


def _unforeseen(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _log.critical("the process ends: %s", kind.__name__, exc_info=(kind, error, trace))
