"""The query of a URI: parameters that are known, each once."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from restms_cluster.errors import BadRequestError

MOST_DIGITS = 9


def numbers(query: str, known: Sequence[str]) -> dict[str, int]:
    """Return the parameters of a raw query string, all of which are numbers from 1 on.

    Raises BadRequestError for any other parameter, for one given twice, and for
    what is no such number: a misspelled query would otherwise mean something else.
    """
    if not query:
        return {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=len(known))
    except ValueError:
        raise BadRequestError(_sentence(known)) from None
    found: dict[str, int] = {}
    for name, value in pairs:
        if name not in known or name in found:
            raise BadRequestError(_sentence(known))
        if not (value.isascii() and value.isdigit()) or not value.strip("0"):
            raise BadRequestError(f"The query's {name} is not a number from 1 on.")
        found[name] = int(value.lstrip("0")[:MOST_DIGITS])
    return found


def _sentence(known: Sequence[str]) -> str:
    return f"The query of this resource can have {' and '.join(known)}, once, and nothing else."
