"""No span tells what nobody may know, whatever is done."""

import re

from tests.access.nodes import Nodes
from tests.conformance.client import Client
from tests.conformance.documents import message
from tests.logs.test_logs import tour
from tests.tracing.conftest import SAMPLED, Spans


def test_no_span_has_a_private_uri(nodes: Nodes, client: Client, spans: Spans) -> None:
    tour(client)
    pipe = client.create_pipe()
    client.publish(client.create_feed(""), message("a", message_id=pipe, reply_to=pipe))
    client.post(pipe.replace("/p", "/f"), traceparent=SAMPLED)
    made = {secret for uri in client._made for secret in re.findall("[0-9a-f]{32}", uri)}
    assert len(made) > 5
    told = "\n".join(span.to_json() for span in spans.all())
    assert {"publish", "deliver", "acknowledge"} <= {span.name for span in spans.all()}
    assert [secret for secret in made if secret[:12] in told] == []
