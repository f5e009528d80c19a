"""A run: everybody at work, faults as planned, then quiet, the last words, and the account."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

import trio

from tests.chaos import faults, readiness
from tests.chaos.ledger import Ledger
from tests.chaos.population import Population
from tests.chaos.publishers import Publisher
from tests.chaos.setting import NODES, Kind, Setting, opened

ANSWERED_SECONDS = 120.0  # for publishers to have their last answer: an answer may be long lost
MENDED_SECONDS = 30.0
DRAINED_SECONDS = 120.0
LAST_WORDS = 6  # of each publisher: some for everybody


@dataclass(frozen=True)
class Plan:
    """What is to be run: for how long, with which faults, by which seed, how fast."""

    kind: Kind
    seconds: float
    seed: int
    faults: Sequence[str]
    rate: float
    log: bool = False


async def run(plan: Plan, tell: Callable[[str], object]) -> Ledger:
    """Carry a plan out; return the account, which is closed."""
    async with opened(plan.kind) as setting:
        ledger = Ledger()
        population = Population(setting.address, ledger, plan.seed)
        await population.settle()
        blows = faults.planned(Random(plan.seed), plan.faults, len(NODES), plan.seconds)
        tell(f"{len(blows)} faults in {plan.seconds:g} s")
        async with trio.open_nursery() as nursery:
            for reader in population.readers:
                nursery.start_soon(reader.run)
            nursery.start_soon(readiness.watch, setting, ledger)
            nursery.start_soon(faults.watch_primary, setting, ledger)
            await _load(plan, population, setting, ledger, blows)
            tell("the faults are over")
            await _end(population, setting, ledger)
            nursery.cancel_scope.cancel()
        await population.close()
        ledger.close()
        _count(population, ledger)
        if ledger.broken or plan.log:
            tell("\n".join([setting.log(), "The time line:", *ledger.timeline]))
        return ledger


async def _load(
    plan: Plan,
    population: Population,
    setting: Setting,
    ledger: Ledger,
    blows: Sequence[faults.Blow],
) -> None:
    """Have everybody publish while the faults come; return when the last publish is answered."""
    ending = trio.Event()
    publishers = population.publishers
    async with trio.open_nursery() as nursery:
        for publisher in publishers:
            nursery.start_soon(publisher.run, plan.rate / len(publishers), ending)
        begun = trio.current_time()
        await faults.carry_out(blows, setting, ledger)
        await trio.sleep_until(begun + plan.seconds)
        ending.set()
        nursery.cancel_scope.deadline = trio.current_time() + ANSWERED_SECONDS
    if nursery.cancel_scope.cancelled_caught:
        ledger.violation("silence", "not every publish was answered in the end")


async def _end(population: Population, setting: Setting, ledger: Ledger) -> None:
    """Wait until all is mended and empty; then see that everybody still works."""
    await _within(MENDED_SECONDS, lambda: readiness.all_ready(setting), "all are ready", ledger)
    begun = ledger.now()
    with trio.move_on_after(ANSWERED_SECONDS):
        async with trio.open_nursery() as nursery:
            for publisher in population.publishers:
                nursery.start_soon(_last_words, publisher)

    async def drained() -> bool:
        return not ledger.owed() and await population.drained()

    await _within(DRAINED_SECONDS, drained, "all pipes are empty", ledger)
    for reader in population.readers:
        if ledger.last_delivery.get(reader.name, 0.0) < begun:
            ledger.violation("silence", f"{reader.name} got none of the last words")


async def _last_words(publisher: Publisher) -> None:
    for _ in range(LAST_WORDS):
        await publisher.publish()


async def _within(
    seconds: float, holds: Callable[[], Awaitable[bool]], what: str, ledger: Ledger
) -> None:
    begun = trio.current_time()
    with trio.move_on_after(seconds):
        while not await holds():
            await trio.sleep(0.1)
        ledger.note(f"{what} after {trio.current_time() - begun:.1f} s")
        return
    ledger.violation("late", f"not within {seconds:g} s: {what}")


def _count(population: Population, ledger: Ledger) -> None:
    for client in population.clients:
        ledger.counts["answers lost"] += client.cuts
        for word, count in client.refusals.items():
            ledger.counts[f"503 {word}"] += count
