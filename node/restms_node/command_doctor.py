"""`restms doctor`: is Redis set up as the nodes need it, and what is to be changed if not?"""

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Any

from restms_cluster.checkup import checkup
from restms_cluster.findings import Finding, Grade, Wanted, worst
from restms_node import operating
from restms_node.columns import clean, plural
from restms_node.config import Settings

COMMAND = "doctor"
WELL, ILL = 0, 1


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        COMMAND,
        help="tell whether Redis is set up right",
        description="Look at all servers, as the nodes' user or an operator; say what is not well, "
        "what to change, and why. Give it the nodes' TOML file and environment, for what is right "
        "depends on their settings. Nothing is changed. A probe is written that expires after a "
        "minute. Exit status 1 where something fails.",
        allow_abbrev=False,
    )
    operating.add_redis(parser)
    parser.add_argument(
        "--user",
        metavar="NAME",
        help="check what this user of Redis may do, in place of the one who asks (needs the "
        "permission ACL DRYRUN)",
    )
    parser.add_argument(
        "--read-only", action="store_true", help="write no probe, and so try no notifications"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings, too")
    parser.add_argument(
        "--quiet", action="store_true", help="show only what is not well, to people"
    )


def run(given: dict[str, Any]) -> int:
    """Run the command; return 1 where something fails. Raises StartError."""
    settings, topology = operating.settings_of(given)
    wanted = wanted_by(settings, given["user"], writes=not given["read_only"])
    findings = operating.finish(partial(checkup, topology, wanted))
    with operating.output():
        if given["json"]:
            print(json.dumps(_json(findings), indent=2))  # noqa: T201
        else:
            for line in _lines(findings, quiet=given["quiet"]):
                print(line)  # noqa: T201
    bad = (Grade.FAILURE, Grade.WARNING) if given["strict"] else (Grade.FAILURE,)
    return ILL if worst(findings) in bad else WELL


def wanted_by(settings: Settings, user: str | None = None, *, writes: bool = True) -> Wanted:
    """Return what nodes with these settings want of Redis."""
    return Wanted(
        settings.levels,
        tuple(domain.name for domain in settings.domains),
        quota=bool(settings.limits.bytes_per_domain)
        or any(domain.bytes_per_domain for domain in settings.domains),
        seconds=settings.redis_timeout_seconds,
        user=user,
        writes=writes,
    )


def _json(findings: Sequence[Finding]) -> dict[str, object]:
    return {"worst": worst(findings), "findings": [asdict(finding) for finding in findings]}


def _lines(findings: Sequence[Finding], *, quiet: bool) -> Iterator[str]:
    widest = max(len(finding.word) for finding in findings)
    for server, group in groupby(findings, key=lambda finding: finding.server):
        yield clean(server or "all servers")
        for finding in group:
            if not (quiet and finding.grade in (Grade.OK, Grade.UNSEEN)):
                yield from _shown(finding, widest)
        yield ""
    counts = [
        plural(number, noun)
        for noun, grade in (("failure", Grade.FAILURE), ("warning", Grade.WARNING))
        if (number := sum(finding.grade is grade for finding in findings))
    ]
    hidden = sum(finding.grade is Grade.UNSEEN for finding in findings)
    counts += [f"{hidden:,} not to be seen"] if hidden else []
    yield f"{'; '.join(counts) or 'All is well'}."


def _shown(finding: Finding, widest: int) -> Iterator[str]:
    mark = "OK" if finding.grade is Grade.OK else finding.grade.upper()
    yield clean(f"  {mark:<7}  {finding.word:<{widest}}  {finding.found}")
    indent = " " * 11
    for line in finding.change:  # not folded, for it is to be copied
        yield clean(f"{indent}change  {line}")
    for number, line in enumerate(textwrap.wrap(finding.why, 80)):
        yield clean(f"{indent}{'' if number else 'why':<7} {line}")
