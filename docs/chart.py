"""Brings what follows from other files up to date in the chart.

    .venv/bin/python docs/chart.py

The table of values in helm/restms/README.md comes from values.yaml and its comments; the options
of a node in helm/restms/values.schema.json come from the server's own table of them.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from restms_node import values
from restms_node.options import Option, options

CHART = Path(__file__).parents[1] / "helm" / "restms"
BEGIN, END = "<!-- values -->", "<!-- end -->"

OURS = {
    # What follows from the pod, or stands in values of its own.
    "bind",
    "redis",
    "data_dir",
    "base_url",
    "trusted_proxies",
    "insecure",
    "log_format",
    "metrics_bind",
    "pid_file",
    # One process a pod: Kubernetes starts, watches and counts them.
    "workers",
}
"""Options that `config` does not have."""

TABLES = ("domain", "authenticator", "rule", "rate")


def main() -> int:
    """Write both files."""
    for path, text in updated().items():
        path.write_text(text)
    return 0


def updated() -> dict[Path, str]:
    """Return what the files should hold."""
    readme, schema = CHART / "README.md", CHART / "values.schema.json"
    return {readme: _readme(readme.read_text()), schema: _schema(schema.read_text())}


# The README


def _readme(text: str) -> str:
    table = ["| value | default | |", "|---|---|---|"]
    for path, default, comment in described((CHART / "values.yaml").read_text()):
        shown = "" if default is None else f"`{_cell(json.dumps(default))}`"
        table.append(f"| `{path}` | {shown} | {_cell(comment)} |")
    inside = "\n".join((BEGIN, *table, END))
    return re.sub(f"{BEGIN}.*{END}", lambda _: inside, text, flags=re.DOTALL)


def described(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield path, default and comment of every value; the default of a section is None.

    Raises ValueError where a value has no comment.
    """
    yield from _described(yaml.compose(text), text.splitlines(), "")


def _described(
    table: yaml.MappingNode, lines: list[str], prefix: str
) -> Iterator[tuple[str, Any, str]]:
    for key, value in table.value:
        path, comment = prefix + key.value, _comment(lines, key.start_mark.line)
        section = isinstance(value, yaml.MappingNode) and _is_section(value, lines)
        if not comment and not section:
            raise ValueError(f"{path} has no comment.")
        if comment or not section:
            yield path, None if section else yaml.safe_load(yaml.serialize(value)), comment
        if section:
            yield from _described(value, lines, f"{path}.")


def _is_section(value: yaml.MappingNode, lines: list[str]) -> bool:
    """Tell whether a map's entries are values of their own: then the first has a comment."""
    return bool(value.value) and bool(_comment(lines, value.value[0][0].start_mark.line))


def _comment(lines: list[str], line: int) -> str:
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return " ".join(text.strip().removeprefix("#").strip() for text in lines[first:line])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


# The schema


def _schema(text: str) -> str:
    schema = json.loads(text)
    properties = {option.name: _property(option) for option in options() if option.name not in OURS}
    for table in TABLES:
        properties[table] = {"type": "array", "items": {"$ref": f"#/definitions/{table}"}}
    schema["properties"]["config"]["properties"] = properties
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _property(option: Option) -> dict[str, Any]:
    described = f"{option.help} (default: {option.default})" if option.default else option.help
    return {**_types(option), "description": described}


def _types(option: Option) -> dict[str, Any]:
    kind = option.kind
    if kind is values.SWITCH:
        return {"type": "boolean"}
    if "|" in kind.metavar:
        return {"enum": kind.metavar.split("|")}
    if kind.toml == (list,):
        return {"type": "array", "items": {"type": "string", "pattern": "^[^,]+$"}}
    if kind.toml == (int,):
        return {"type": "integer", "minimum": 1}
    if kind.toml == (int, float):
        return {"type": "number", "minimum": 0}
    if kind.toml == (int, str):
        return {"type": ["integer", "string"], "minimum": 0}
    if kind.toml == (str,):
        return {"type": "string"}
    raise ValueError(f"The types of {option.name} are unknown here.")


if __name__ == "__main__":
    sys.exit(main())
