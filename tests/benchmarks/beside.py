"""Many messages at once, here and with what people would use instead."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.benchmarks import others
from tests.benchmarks.broker import BATCH, cluster
from tests.benchmarks.measure import Group, Ratio, Setting, Way
from tests.benchmarks.volume import EndToEnd, publish_to_new_pipe
from tests.benchmarks.wire import CBOR


@contextmanager
def open_beside(setting: Setting) -> Iterator[dict[str, Way]]:
    """Two nodes, and the others that are installed."""
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(2))
        url, seconds = nodes.urls[0], setting.seconds
        yield {
            "batch": Way(
                "restms: publish, CBOR, 1,000 in a request",
                "messages/s",
                lambda: publish_to_new_pipe(url, seconds, BATCH, CBOR),
            ),
            "end to end": Way(
                "restms: end to end, acknowledged at another node",
                "messages/s",
                EndToEnd(nodes.urls, seconds).measure,
            ),
            **others.batches(stack, setting),
        }


BESIDE = Group(
    "beside",
    "Many messages at once, beside others",
    open_beside,
    (
        Ratio("batch publish, to RabbitMQ's by AMQP", "batch", "amqp batch"),
        Ratio("end to end, to RabbitMQ's by AMQP", "end to end", "amqp end to end"),
        Ratio("batch publish, to the SQS emulator's", "batch", "sqs batch"),
    ),
    rounds=5,
    guess=6,
)
