"""Not a profile to use: a node that loads it runs its scripts with small constants.

So a few pipes make large fan-outs, which are handed out in many chunks, and a
deleted pipe's messages come back in many steps. (Importing it changes the scripts of
the process, so tests import only the numbers.)
"""

import re

from small import SMALL

from restms_cluster import scripts
from restms_cluster.profiles import Profile

_source = scripts.source


def _small_source(name: str) -> str:
    text = _source(name)
    for constant, value in SMALL.items():
        text = re.sub(rf"(?m)^local {constant} = \d+", f"local {constant} = {value}", text)
    return text


scripts.source = _small_source  # type: ignore[assignment]

PROFILE = Profile(name="example/Small", title="Small scripts", text="For tests.\n", lua="")
