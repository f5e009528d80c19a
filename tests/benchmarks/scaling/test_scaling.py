"""The model says what the documents say, and what the simulation and real nodes do."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.scaling import __main__ as calculator
from tests.benchmarks.scaling import pages, projecting
from tests.benchmarks.scaling.costs import Costs
from tests.benchmarks.scaling.fit import fit
from tests.benchmarks.scaling.model import Traffic, ceiling, needed, use

COSTS = Costs.load()
DOCS = Path(__file__).parents[3] / "docs"
PUBLISHED = Traffic(publishes=5000, fan_out=0, size=0)  # and read by nobody


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("scaling.md", "costs"),
        ("scaling.md", "readers"),
        ("scaling.md", "background"),
        ("scaling.md", "batches"),
        ("operations.md", "sizing"),
    ],
)
def test_a_document_has_the_figures_that_follow_from_the_costs(page: str, name: str) -> None:
    table = "\n".join(getattr(pages, f"_{name}")(COSTS))

    assert f"<!-- bench: {name} -->\n{table}\n<!-- end -->" in (DOCS / page).read_text()


def test_the_simulation_does_what_real_nodes_did() -> None:
    """Real nodes that share two cores, with Redis and a client: within the bounds that are told."""
    busy = [run for run in COSTS.runs if run["connections"] == 64 and run["domains"] == 1]
    compared = [projecting.compare(COSTS, run) for run in busy]

    assert {one.nodes for one in compared} == {1, 2, 3, 4}
    assert projecting.spread(compared, "redis")[0] < 0.2
    assert projecting.spread(compared, "node")[0] < 0.35
    assert projecting.spread(compared, "group")[0] < 0.5


@pytest.mark.parametrize(("nodes", "rate"), [(2, 5000), (4, 10_000), (10, 10_000), (30, 5000)])
def test_the_model_says_what_the_simulation_does(nodes: int, rate: float) -> None:
    said = use(COSTS.warm(), replace(PUBLISHED, publishes=rate), nodes)
    seen = projecting.publishing(COSTS, nodes, rate)

    assert said.redis == pytest.approx(seen.redis, rel=0.1)
    assert said.node == pytest.approx(seen.node, rel=0.2)
    assert said.group == pytest.approx(seen.group, rel=0.3)


def test_nodes_that_gather_their_calls_take_what_others_could_not() -> None:
    at_once = projecting.publishing(COSTS, 10, 15_000, bounded=False)
    gathered = projecting.publishing(COSTS, 10, 15_000)

    assert at_once.group < 1.5 < gathered.group
    assert gathered.time(0.5) < at_once.time(0.5) / 5
    assert gathered.answered > 1.3 * at_once.answered


def test_more_domains_take_more_and_more_readers_need_more() -> None:
    one = Traffic(publishes=1000, readers=10_000, reread_seconds=60)
    sixteen = replace(one, domains=16)

    assert ceiling(COSTS, sixteen, 30, 16) > 5 * ceiling(COSTS, one, 30)
    few, many = needed(COSTS, one), needed(COSTS, replace(one, readers=100_000))
    assert few is not None
    assert many is not None
    assert few.nodes < many.nodes
    assert needed(COSTS, replace(one, publishes=1e6)) is None


def test_costs_are_found_in_what_they_come_to() -> None:
    costs = {"message": 30.0, "call": 120.0, "turn": 40.0}
    chance = random.Random(1)
    rows = []
    for _ in range(30):
        steps = {name: float(chance.randrange(1, 1000)) for name in costs}
        seconds = sum(costs[name] * many for name, many in steps.items()) / 1e6
        rows.append((steps, seconds * chance.uniform(0.98, 1.02)))

    found = fit(rows)

    assert found.costs == pytest.approx(costs, rel=0.05)
    assert found.error < 0.02


def test_the_calculator_tells_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    calculator.main(["--publishes", "1000", "--readers", "10000", "--reread-seconds", "60"])

    told = capsys.readouterr().out
    assert told.rstrip() in (DOCS / "operations.md").read_text()
    assert "what bounds it first      the nodes" in told


def test_the_calculator_says_what_is_too_much(capsys: pytest.CaptureFixture[str]) -> None:
    calculator.main(["--publishes", "20000", "--readers", "100000", "--fan-out", "3"])

    told = capsys.readouterr().out
    assert "more than so many domains can take" in told
    assert "--reread-seconds 60" in told
