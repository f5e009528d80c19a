"""The constants of the scripts that small_scripts makes small."""

SMALL = {"LARGE": 1, "WORK_PIPES": 1, "CHUNK": 2, "TRIMMED": 2}
