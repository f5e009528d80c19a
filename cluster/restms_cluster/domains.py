"""Domains: made by the configuration, read by anyone."""

from restms_cluster.broker import Broker
from restms_cluster.errors import NotFoundError, StartError
from restms_cluster.feeds import feed_from
from restms_cluster.keys import domain_key
from restms_cluster.model import ConfiguredDomain, Domain
from restms_cluster.scripts import Outcome
from restms_cluster.transitions import DomainConfigure, DomainRead


async def configure(broker: Broker, domain: ConfiguredDomain) -> None:
    """Make a domain and its feeds as configured.

    Raises StartError where a feed of another type has that name already.
    """
    feeds = tuple(
        text
        for feed in domain.feeds
        for text in (
            *(feed.name, feed.type, feed.title, feed.license),
            *(feed.dead_letter, feed.dedup),
        )
    )
    answer = await broker.run(DomainConfigure(domain.name, domain.title, feeds))
    if answer.outcome is not Outcome.OK:
        name, kind = (value.decode() for value in answer.values)
        problem = (
            f'exists already with the type "{kind}"'
            if answer.outcome is Outcome.TYPE_DIFFERS
            else f'has the type "{kind}", which no profile here has'
        )
        raise StartError(f'The configured feed "{name}" of the domain "{domain.name}" {problem}.')


async def read(broker: Broker, name: str) -> Domain:
    """Return a domain with its public feeds."""
    answer = await broker.run(DomainRead(name))
    if answer.outcome is not Outcome.OK:
        raise NotFoundError("There is no such domain.")
    title, version, feeds = answer.values
    return Domain(
        name, title.decode(), int(version), tuple(feed_from(name, feed) for feed in feeds)
    )


def hints(name: str) -> str:
    """Return what to watch for changes of a domain."""
    return domain_key(name)
