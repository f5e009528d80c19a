"""The dashboard and the alerts: they ask for what nodes tell, in the language of Prometheus."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from restms_node.metrics_table import FAMILIES, Kind
from tests.deploy.conftest import DEPLOY
from tests.nodes import Cluster
from tests.waiting import wait_until

ALERTS, DASHBOARD = DEPLOY / "alerts.yaml", DEPLOY / "grafana-dashboard.json"
CASES = Path(__file__).with_name("alerts_test.yaml")
DOCUMENT = DEPLOY.parent / "docs" / "operations.md"
PROMETHEUS_OWN = {"up"}
LABELS_OF_PROMETHEUS = {"job", "instance"}
OF_HISTOGRAMS = ("_bucket", "_count", "_sum")
PROMTOOL = shutil.which("promtool")


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Yield all that Prometheus is asked, with a value for what Grafana puts in."""
    yield from (rule["expr"] for rule in rules())
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")
    for variable in dashboard()["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", ""))
        if asked:
            yield asked[1]


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Return what an expression selects; ValueError where it is none."""
    found: list[promql_parser.VectorSelector] = []

    def visit(part: Any) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            found.append(part)
        elif isinstance(part, promql_parser.MatrixSelector):
            found.append(part.vector_selector)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@pytest.fixture(scope="module")
def told(cluster: Cluster) -> set[str]:
    """The names of all series that nodes tell of, after some requests and a sweep."""
    for url in cluster.urls:
        assert httpx.get(f"{url}/restms/domain/default").status_code == 200
        assert httpx.get(f"{url}/restms/domain/none").status_code == 404
    wait_until(lambda: "restms_messages_stored" in names_told(cluster))
    return names_told(cluster)


def names_told(cluster: Cluster) -> set[str]:
    pages = [httpx.get(f"{url}/metrics") for url in cluster.urls]
    assert {page.status_code for page in pages} == {200}
    families = chain.from_iterable(text_string_to_metric_families(page.text) for page in pages)
    names: set[str] = set()
    for family in families:
        if family.type == Kind.HISTOGRAM:
            names.update(family.name + suffix for suffix in OF_HISTOGRAMS)
        else:
            names.add(family.name + ("_total" if family.type == Kind.COUNTER else ""))
    return names


def test_everything_that_is_asked_for_is_told(told: set[str]) -> None:
    asked = {selector.name for each in expressions() for selector in selectors(each)}
    assert len(asked) > 30
    assert asked - told == PROMETHEUS_OWN


def test_all_that_nodes_tell_is_on_the_dashboard(told: set[str]) -> None:
    asked = {
        selector.name
        for panel in panels()
        for target in panel["targets"]
        for selector in selectors(target["expr"].replace("$__rate_interval", "5m"))
    }
    families = {family.name for family in FAMILIES if family.name.startswith("restms_")}
    assert families - {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked} == set()


def test_labels_are_those_that_metrics_have() -> None:
    labels = {family.name: set(family.labels) for family in FAMILIES}
    for expression in expressions():
        for selector in selectors(expression):
            family = re.sub(r"_(bucket|count|sum)$", "", selector.name)
            if family not in PROMETHEUS_OWN:
                used = {matcher.name for matcher in selector.matchers.matchers}
                assert used <= labels[family] | LABELS_OF_PROMETHEUS, expression


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    for panel in panels():
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    identities = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(identities)) == len(identities)


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_alert_says_what_it_means_and_where_to_read_what_to_do() -> None:
    headings = re.findall(r"^#+ (RestMS\w+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in rules()] == headings
    for rule in rules():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}
        page, _, anchor = notes["runbook_url"].partition("#")
        assert page.endswith("/docs/operations.md")
        assert anchor == rule["alert"].lower()


def test_every_alert_has_a_case() -> None:
    cases = CASES.read_text()
    assert [rule["alert"] for rule in rules() if rule["alert"] not in cases] == []


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_they_alert_when_they_should_and_not_when_all_is_well(tmp_path: Path) -> None:
    for path in (ALERTS, CASES):
        shutil.copy(path, tmp_path)
    for command in (("check", "rules", ALERTS.name), ("test", "rules", CASES.name)):
        done = subprocess.run(
            [PROMTOOL or "", *command],
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
