"""One target under atheris, in a process of its own, for libFuzzer ends it."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["restms_node", "restms_cluster"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.__main__ import FINDINGS, SLOW_SECONDS
from tests.fuzz.mutations import MOST_BYTES, NASTY
from tests.fuzz.seeds import SEEDS


def main(name: str, seconds: str, seed: str) -> None:
    """Fuzz for so many seconds; exits with a status that is not zero where something is found."""
    kept = FINDINGS / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        corpus = Path(directory)
        for number, data in enumerate((*SEEDS[name], *NASTY)):
            (corpus / str(number)).write_bytes(data)
        options = [
            *(f"-max_total_time={int(float(seconds))}", f"-seed={seed}", f"-max_len={MOST_BYTES}"),
            *(f"-timeout={int(SLOW_SECONDS)}", f"-artifact_prefix={kept}/", "-print_final_stats=1"),
            *("-verbosity=0", str(corpus)),
        ]
        atheris.Setup([sys.argv[0], *options], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
