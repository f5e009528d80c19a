"""A run: everybody at work, faults as planned, then quiet, the last words, and the account."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

import trio

from tests.chaos import faults, readiness
from tests.chaos.ledger import Ledger
from tests.chaos.population import Population
from tests.chaos.setting import NODES, Kind, Setting, opened

# What waits on a connection that is dead without a sign notices after 75 seconds (the
# balancer) or 90 (the client), and may have another such after it.
ANSWERED_SECONDS = 120.0
MENDED_SECONDS = 30.0
DRAINED_SECONDS = 180.0
HEARD_SECONDS = 180.0
WORD_SECONDS = 20.0


@dataclass(frozen=True)
class Plan:
    """What is to be run: for how long, with which faults, by which seed, how fast."""

    kind: Kind
    seconds: float
    seed: int
    faults: Sequence[str]
    rate: float
    crowd: int = 0
    log: bool = False


async def run(plan: Plan, tell: Callable[[str], object]) -> Ledger:
    """Carry a plan out; return the account, which is closed."""
    async with opened(plan.kind) as setting:
        ledger = Ledger()
        population = Population(setting.address, ledger, plan.seed, plan.crowd)
        await population.settle()
        blows = faults.planned(Random(plan.seed), plan.faults, len(NODES), plan.seconds)
        tell(f"{len(blows)} faults in {plan.seconds:g} s")
        async with trio.open_nursery() as nursery:
            population.start(nursery)
            nursery.start_soon(readiness.watch, setting, ledger)
            nursery.start_soon(faults.watch_primary, setting, ledger)
            await _load(plan, population, setting, ledger, blows)
            tell("the faults are over")
            await _within(
                MENDED_SECONDS, lambda: readiness.all_ready(setting), "all are ready", ledger
            )
            await end(population, ledger)
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


async def end(population: Population, ledger: Ledger, *, last_words: bool = True) -> None:
    """Wait until all is empty; then see that everybody still works."""

    async def drained() -> bool:
        return not ledger.owed() and await population.drained()

    async def all_heard() -> bool:
        """Publish to everybody; tell whether every reader has something soon."""
        async with trio.open_nursery() as nursery:
            for publisher in population.publishers:
                nursery.start_soon(publisher.publish)
        with trio.move_on_after(WORD_SECONDS):
            while _silent(population, ledger, begun):
                await trio.sleep(0.1)
            return True
        return False

    await _within(DRAINED_SECONDS, drained, "all pipes are empty", ledger)
    if not last_words:
        return
    begun = ledger.now()
    await _within(HEARD_SECONDS, all_heard, "all readers had the last words", ledger)
    for name in _silent(population, ledger, begun):
        ledger.violation("silence", f"{name} got none of the last words")
    await _within(DRAINED_SECONDS, drained, "all pipes are empty again", ledger)


def _silent(population: Population, ledger: Ledger, since: float) -> list[str]:
    last = ledger.last_delivery
    return [one.name for one in population.readers if last.get(one.name, 0.0) < since]


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
