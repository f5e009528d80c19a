"""The chart, loaded once."""

import json
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("helm_python", reason="there is no wheel of Helm's library for this platform")

from helm_python.chart import Chart

from tests.chart.manifests import CHART, Manifest, Manifests, merged, render

Rendered = Callable[..., Manifests]


@pytest.fixture(scope="session")
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as chart:
        yield chart


@pytest.fixture(scope="session")
def rendered(chart: Chart) -> Rendered:
    """Render the chart with values; of several, the later ones win. The same is rendered once."""
    known: dict[str, Manifests] = {}

    def result(*values: Manifest) -> Manifests:
        together = merged(*values)
        key = json.dumps(together)
        if key not in known:
            known[key] = render(chart, together)
        return known[key]

    return result
