"""The table of metrics in the documentation is that of the server, and nodes tell no others."""

import re
from pathlib import Path

from restms_node.metrics_table import FAMILIES
from restms_node.waiting import OUTCOMES
from tests.conformance.client import Client
from tests.metrics.scrapes import scrape
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
ROW = re.compile(r"^\| `((?:restms|process)_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)


def test_the_table_says_what_there_is() -> None:
    assert [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), f"{text}.")
        for name, kind, labels, text in ROW.findall(PAGE)
    ] == [(family.name, family.kind, family.labels, family.help) for family in FAMILIES]


def test_what_outcomes_there_are_is_told() -> None:
    assert [outcome for outcome in OUTCOMES if f"`{outcome}`" not in PAGE] == []


def test_nodes_tell_all_of_it(client: Client, urls: list[str]) -> None:
    client.get("/nothing")  # something to refuse

    def told() -> set[str]:
        return {
            family.name + ("_total" if family.type == "counter" else "")
            for url in urls
            for family in scrape(url).families
        }

    wait_until(lambda: len(told()) >= len(FAMILIES))
    assert told() == {family.name for family in FAMILIES}
