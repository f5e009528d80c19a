"""The three lines of the README, run as they stand there against a node of ours."""

import os
import re
import subprocess
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def three_lines(node: str, place: Path) -> str:
    """Publish, wait and acknowledge at a node (`host:port`); return what the lines printed.

    After it comes the status of another read.
    """
    section = README.read_text().split("## Three lines")[1].split("\n## ")[0]
    make_pipe, lines = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    publish, wait, acknowledge = lines.splitlines()
    # The address that the README prints may be taken here: curl goes elsewhere for it.
    (place / ".curlrc").write_text(f'connect-to = "127.0.0.1:8080:{node}"\n')
    # The reader first: it waits for what is published after it has begun.
    script = f"set -eu\n{make_pipe}\n{wait} > read & reader=$!\n{publish}\nwait $reader\n"
    script += f"cat read\n{acknowledge}\ncurl -s -o end -w '%{{http_code}}' \"$pipe-1\"\n"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=place,
        env={**os.environ, "CURL_HOME": str(place)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_three_lines(printed: str) -> None:
    """A pipe was reached, the message came, and is no more."""
    assert '<message count="1"/>' in printed
    assert "Hello, world</content>" in printed
    assert printed.endswith("404")
