"""The page about options names every option, with its default and its meaning."""

from pathlib import Path

import pytest

from restms_node.options import Option, options

PAGE = (Path(__file__).parents[2] / "docs" / "options.md").read_text()


@pytest.mark.parametrize("option", options(), ids=lambda option: option.name)
def test_every_option_stands_in_the_docs(option: Option) -> None:
    default = f"`{option.default}`" if option.default else ""
    if option.name == "data_dir":  # another one for each user
        default = "your user data folder (Linux: `~/.local/share/restms`)"
    assert f"| `{option.flag}` | {default} | {option.help} |" in PAGE
