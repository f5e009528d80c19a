"""The benchmarks' runner works: in its smallest form, and told nonsense."""

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import document


def bench(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.benchmarks", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_group_is_measured_told_of_and_written_down(tmp_path: Path) -> None:
    options = ("--only", "volume", "--rounds", "1", "--seconds", "0.1")

    done = bench(*options, "--output", str(tmp_path))

    assert "batch publish, to the ceiling, one XADD in a call" in done.stdout, done.stderr
    assert "at least 0.7" in done.stdout
    assert "[1/1] volume, round 1 of 1: publish, CBOR, 1,000 in a request" in done.stderr
    found = json.loads((tmp_path / "results.json").read_text())["groups"]["volume"]
    assert all(way["results"][0] > 0 for way in found.values()), found
    assert done.returncode == 0


def test_it_lists_its_groups_and_refuses_others() -> None:
    assert "volume" in bench("--list").stdout
    assert "there is no noise" in bench("--only", "noise").stderr


def test_a_document_gets_new_tables_where_it_has_a_place_for_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- bench: one -->\nold\n<!-- end -->\n<!-- bench: two -->\n<!-- end -->\n"
    )

    document.update(page, {"one": "| new |", "three": "| lost |"})

    text = page.read_text()
    assert text == (
        "a\n<!-- bench: one -->\n| new |\n<!-- end -->\n<!-- bench: two -->\n<!-- end -->\n"
    )
