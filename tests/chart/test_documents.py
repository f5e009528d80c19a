"""What follows from other files is up to date: table of values, options in the schema, versions."""

import tomllib
from pathlib import Path

import pytest
import yaml
from docs import chart as generated
from helm_python import chart as helm
from helm_python.chart import Chart

from restms_node.options import options
from restms_node.version import VERSION
from tests.chart.conftest import Rendered
from tests.chart.manifests import CHART, PRODUCTION, ROOT


def test_the_readme_and_the_schema_are_up_to_date() -> None:
    for path, text in generated.updated().items():
        assert path.read_text() == text, f"run docs/chart.py for {path.name}"


def test_every_value_is_described(chart: Chart) -> None:
    described = {path: default for path, default, _ in generated.described(VALUES)}
    for name, default in chart.values.items():
        if name in described and described[name] is not None:
            assert described[name] == default
        else:
            assert any(path.startswith(f"{name}.") for path in described)


VALUES = (CHART / "values.yaml").read_text()


def test_a_value_without_a_reason_is_found() -> None:
    with pytest.raises(ValueError, match=r"^a\.c has no comment\.$"):
        list(generated.described("# A section.\na:\n  # First.\n  b: 1\n\n  c: 2\n"))


def test_the_schema_has_each_option_that_the_chart_leaves_to_its_users(chart: Chart) -> None:
    schema = chart.schema
    assert schema is not None
    known = set(schema["properties"]["config"]["properties"])
    assert known - set(generated.TABLES) == {o.name for o in options()} - generated.OURS


def test_versions_are_those_of_the_package(chart: Chart) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart.metadata["appVersion"] == project["version"] == VERSION
    assert chart.metadata["annotations"]["artifacthub.io/license"] == project["license"]


def test_alerts_are_those_of_the_repository(rendered: Rendered) -> None:
    source = (ROOT / "deploy" / "alerts.yaml").read_text()
    assert (CHART / "files" / "alerts.yaml").read_text() == source
    watched = {"metrics": {"prometheusRule": {"enabled": True}}}
    rule = rendered(PRODUCTION, watched).one("PrometheusRule", "restms")
    assert rule["spec"] == yaml.safe_load(source)


def test_a_package_has_what_the_chart_needs_and_nothing_else(tmp_path: Path) -> None:
    package = helm.package(CHART, destination=tmp_path)
    assert Path(package).name == "restms-0.1.0.tgz"
    with Chart.load(package) as chart:
        assert {file["name"] for file in chart.files} == {
            *(".helmignore", "README.md"),
            *("files/alerts.yaml", "files/try_it.py", "files/valkey.conf"),
        }
        assert chart.schema is not None
        assert chart.render(PRODUCTION)
