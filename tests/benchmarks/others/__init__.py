"""What people would use instead: started here if it is installed, and measured in the same way."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.benchmarks.measure import NotInstalledError, Setting, Way
from tests.benchmarks.others.nchan import open_nchan
from tests.benchmarks.others.sqs import open_sqs

if TYPE_CHECKING:
    from tests.benchmarks.others.rabbitmq import RabbitMQ

T = TypeVar("T")
Start = Callable[[Path], AbstractContextManager[T]]
EXTRA = "pamqp is not installed (pip install '.[bench]')"
FEWEST = 5  # batches


def singles(stack: ExitStack, setting: Setting) -> dict[str, Way]:
    """One message in a request."""
    ways, seconds = {}, setting.seconds
    if (channels := _opened(stack, setting, open_nchan, "nchan")) is not None:
        ways["nchan"] = _way("Nchan with Redis: POST", lambda: channels.publish(seconds))
    if (rabbit := _opened(stack, setting, _open_rabbitmq(), "rabbitmq")) is not None:
        ways["amqp"] = _way("RabbitMQ, AMQP: publish and confirm", lambda: rabbit.publish(seconds))
        ways["amqp take"] = _way(
            "RabbitMQ, AMQP: get and acknowledge", lambda: rabbit.take(seconds)
        )
        ways["rabbit http"] = _way(
            "RabbitMQ, management API: publish", lambda: rabbit.http_publish(seconds)
        )
        ways["rabbit http take"] = _way(
            "RabbitMQ, management API: get and acknowledge", lambda: rabbit.http_take(seconds)
        )
    if (queue := _opened(stack, setting, open_sqs, "sqs")) is not None:
        ways["sqs"] = _way("SQS emulator: SendMessage", lambda: queue.publish(seconds))
        ways["sqs take"] = _way(
            "SQS emulator: ReceiveMessage and DeleteMessage", lambda: queue.take(seconds)
        )
    return ways


def batches(stack: ExitStack, setting: Setting) -> dict[str, Way]:
    """Many messages in a request, or under way at once."""
    ways, seconds = {}, setting.seconds
    if (rabbit := _opened(stack, setting, _open_rabbitmq(), "rabbitmq")) is not None:
        ways["amqp batch"] = _way(
            "RabbitMQ, AMQP: publish 1,000, then their confirms",
            lambda: rabbit.publish_batches(seconds),
        )
        ways["amqp end to end"] = _way(
            "RabbitMQ, AMQP: published, confirmed, delivered, acknowledged",
            lambda: rabbit.move(max(FEWEST, round(20 * seconds))),
        )
    if (queue := _opened(stack, setting, open_sqs, "sqs")) is not None:
        ways["sqs batch"] = _way(
            "SQS emulator: SendMessageBatch of 10", lambda: queue.publish_batches(seconds)
        )
    return ways


def _way(text: str, measure: Callable[[], float]) -> Way:
    return Way(text, "messages/s", measure)


def _open_rabbitmq() -> "Start[RabbitMQ]":
    if find_spec("pamqp") is None:
        return _without_pamqp
    from tests.benchmarks.others.rabbitmq import open_rabbitmq

    return open_rabbitmq


def _without_pamqp(directory: Path) -> "AbstractContextManager[RabbitMQ]":
    raise NotInstalledError(EXTRA)


def _opened(stack: ExitStack, setting: Setting, start: Start[T], name: str) -> T | None:
    """Start one of the others; None, with a note, if that cannot be done."""
    directory = setting.directory / name
    directory.mkdir()
    try:
        return stack.enter_context(start(directory))
    except NotInstalledError as error:
        setting.note(f"Not measured: {error}.")
    except (OSError, RuntimeError) as error:
        setting.note(f"Not measured: {error}")
    return None
