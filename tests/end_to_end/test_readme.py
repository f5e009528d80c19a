"""What the README and the walkthrough print is what happens."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.nodes import LISTENS, Cluster
from tests.readme import check_three_lines, three_lines

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines need curl")
def test_the_curl_lines_publish_wait_and_acknowledge(tmp_path: Path) -> None:
    with Cluster(0) as cluster:
        node = cluster.add().url.removeprefix("http://")
        check_three_lines(three_lines(node, tmp_path))


def shape(transcript: str) -> str:
    """A transcript without what is new in every run."""
    for pattern, same in (
        (r"\b([pcj])[0-9a-f]{32}", r"\1…"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:port"),
        (r'"[0-9a-f]+-(\w+)"', r'"…-\1"'),
        (r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", "date"),
        (r"(?i)(content-length): \d+", r"\1: n"),
    ):
        transcript = re.sub(pattern, same, transcript)
    return transcript


def test_the_walkthrough_happens_as_it_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "walkthrough.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shape(done.stdout) == shape((DOCS / "walkthrough.md").read_text())


def test_messages_outlive_the_embedded_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "restms_node", "serve", "--bind", "127.0.0.1:0"]
    command += ["--data-dir", str(tmp_path / "data")]
    path = ""
    for life in ("first", "second"):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
            assert process.stdout is not None
            found = LISTENS.search(process.stdout.readline())
            assert found
            url = found[1].decode()
            if life == "first":
                made = httpx.post(
                    f"{url}/restms/domain/default",
                    content="<restms><pipe/></restms>",
                    headers={"Content-Type": "text/xml"},
                )
                path = made.headers["location"].removeprefix(url)
                body = f"<restms><message address='{path.rpartition('/')[2]}'/></restms>"
                post = httpx.post(
                    f"{url}/restms/feed/default", content=body, headers={"Content-Type": "text/xml"}
                )
                assert post.status_code == 200
            else:
                uri = f"{url}{path}-1"
                assert httpx.get(uri).status_code == 200
            process.terminate()
            assert process.wait(20) == 0
