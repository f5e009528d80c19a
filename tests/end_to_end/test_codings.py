"""Content codings can be switched off."""

import gzip
from collections.abc import Callable

from tests.end_to_end.conftest import Client
from tests.nodes import Cluster


def test_a_node_without_codings_reads_and_writes_none(
    client_of: Callable[[Cluster], Client],
) -> None:
    with Cluster(1, "--codings", "") as cluster:
        client = client_of(cluster)
        body = gzip.compress(b"<restms><message/></restms>")
        answer = client.send("POST", "/restms/feed/default", body, Content_Encoding="gzip")
        assert answer.status_code == 415
        assert answer.headers["accept-encoding"] == "identity"
        feed = f'<restms><feed name="large" title="{"long " * 500}"/></restms>'
        answer = client.send("POST", "/restms/domain/default", feed, Accept_Encoding="gzip")
        assert answer.status_code == 201
        assert "content-encoding" not in answer.headers
