"""The quota of bytes of a domain, at real nodes: one with the lane and one without."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Client, name, until
from tests.end_to_end.test_rates import pair
from tests.nodes import Cluster

SMALL = 400_000
FEED = "/restms/feed/default"


def large(pipe: str) -> str:
    return (
        f'<restms><message address="{name(pipe)}"><content>{"m" * 90_000}</content>'
        "</message></restms>"
    )


@pytest.mark.parametrize("option", [True, False])
def test_who_finds_no_room_is_told_and_finds_it_soon_after_it_is_made(
    tmp_path: Path, client_of: Callable[[Cluster], Client], option: bool
) -> None:
    config = tmp_path / "restms.toml"
    own = "" if option else f"[[domain]]\nname = 'default'\nbytes_per_domain = '{SMALL}'\n"
    config.write_text(f"bytes_per_domain = {SMALL if option else 1}\n{own}")
    with pair("--config", str(config), "--sweep-seconds", "60") as cluster:
        client = client_of(cluster)
        pipe, taken = client.new_pipe(), 0
        for node in (0, 1):
            while (answer := client.send("POST", FEED, large(pipe), node=node)).status_code == 200:
                taken += 1
            assert answer.status_code == 503, answer.text
            assert answer.headers["restms-error"] == "full"
            assert answer.headers["retry-after"] == "2"
            assert f"the {SMALL} bytes that it may; nothing was routed" in answer.text
            assert 2 <= taken <= 6
            staged = client.send("POST", FEED, b"s" * 300_000, node=node, Content_Type="a/b")
            assert staged.status_code == 503, staged.text
            assert "the content was not taken" in staged.text
            assert client.send("DELETE", f"{pipe}-{taken}").status_code == 200
            until(lambda: client.send("POST", FEED, large(pipe)).status_code == 200)
            taken += 1
