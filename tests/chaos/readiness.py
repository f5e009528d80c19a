"""Whether /readyz tells the truth, and the balancer heeds it: looked at all the time."""

from collections.abc import Sequence

import trio

from tests.chaos.client import Client, CutError
from tests.chaos.ledger import Ledger
from tests.chaos.setting import Setting, Station, Trouble

SAMPLE_SECONDS = 0.25
ANSWER_SECONDS = 5.0
FAILS_SECONDS = 8.0  # from when something is surely wrong
MENDS_SECONDS = 25.0  # from when nothing is any more


def must_be(troubles: Sequence[Trouble], mended: float, now: float) -> bool | None:
    """Return whether a node must be ready; None where both is right."""
    if any(trouble.sure and trouble.begun < now - FAILS_SECONDS for trouble in troubles):
        return False
    if not troubles and mended < now - MENDS_SECONDS:
        return True
    return None


async def watch(setting: Setting, ledger: Ledger) -> None:
    """Sample every node and the balancer, for ever."""
    async with trio.open_nursery() as nursery:
        for station in setting.stations:
            nursery.start_soon(_watch_node, station, ledger)
        nursery.start_soon(_watch_balancer, setting, ledger)


async def ready(station: Station) -> bool:
    """Ask a node by itself, past all relays."""
    host, _, port = station.node.url.removeprefix("http://").partition(":")
    client = Client((host, int(port)))
    try:
        with trio.move_on_after(ANSWER_SECONDS):
            return (await client.ask("GET", "/readyz")).status == 200
    except CutError:
        pass
    finally:
        await client.close()
    return False


async def all_ready(setting: Setting) -> bool:
    """Tell whether all nodes are ready, and the balancer knows."""
    return all([await ready(one) for one in setting.stations]) and all(await setting.balancer.ups())


async def _watch_node(station: Station, ledger: Ledger) -> None:
    while True:
        begun = trio.current_time()
        is_ready = await ready(station)
        troubles = [trouble for trouble in station.troubles if not trouble.way]
        # What was so when it was asked, and is still so.
        _check(ledger, station.name, is_ready, must_be(troubles, station.mended, begun))
        await trio.sleep(SAMPLE_SECONDS)


async def _watch_balancer(setting: Setting, ledger: Ledger) -> None:
    while True:
        begun = trio.current_time()
        for station, is_up in zip(setting.stations, await setting.balancer.ups(), strict=True):
            must = must_be(station.troubles, station.mended, begun)
            _check(ledger, f"the balancer's {station.name}", is_up, must)
        await trio.sleep(SAMPLE_SECONDS)


def _check(ledger: Ledger, name: str, is_ready: bool, must: bool | None) -> None:
    ledger.counts["readiness looked at"] += 1
    if must is not None and is_ready != must:
        said, is_so = ("ready", "not") if is_ready else ("not ready", "well")
        ledger.violation("readiness", f"{name} is {said}, and is {is_so}")
