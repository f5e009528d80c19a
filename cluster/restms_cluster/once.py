"""A client's key for a request that is to take effect once (Idempotency-Key).

The key is kept with a digest of the request, so that a key used for another
request is noticed, rather than that request lost.
"""

import hashlib
from collections.abc import Iterable

from restms_cluster.errors import KeyReusedError


def once(key: str, *request: str | bytes, parts: Iterable[bytes] = ()) -> str:
    """Return what the scripts know a request by; nothing where it has no key."""
    if not key:
        return ""
    digest = hashlib.sha256()
    for part in (*request, *parts):
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d " % len(data))
        digest.update(data)
    return f"{hashlib.sha256(key.encode()).hexdigest()} {digest.hexdigest()}"


def key_reused() -> KeyReusedError:
    """Return the error for a key that was used for another request."""
    return KeyReusedError("That Idempotency-Key was used for another request; nothing was done.")
