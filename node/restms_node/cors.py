"""CORS (Fetch, section 3.2): which web pages of other origins may speak to this server."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from restms_node.exchange import Answer

METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
EXPOSED = (
    "Location, ETag, Last-Modified, Date-Modified, Preference-Applied, Retry-After, Allow, "
    "RestMS-Full, RestMS-Routed, RestMS-Error, X-Request-Id, Accept-Ranges, Content-Range, "
    "RateLimit, RateLimit-Policy"
)
PREFLIGHT_SECONDS = "600"
NONE, SAME_ORIGIN = "none", "same-origin"
"""What Sec-Fetch-Site says where no page of another origin is at work (Fetch Metadata)."""


class Cors:
    """Off unless origins are configured; `*` lets every origin in."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def admits(self, request: Mapping[str, str], base: str) -> bool:
        """Tell whether a page that sends a request, if one does, may change anything here.

        Browsers send simple requests of any page without asking first; other
        clients send no Origin. Where something took the Origin away, a browser's
        Sec-Fetch-Site still tells that the page is another's.
        """
        origin = request.get("origin")
        if "*" in self._origins or origin in self._origins:
            return True
        if origin is None:
            return request.get("sec-fetch-site", NONE).lower() in (NONE, SAME_ORIGIN)
        # Not the scheme: a proxy may have taken TLS off without saying so.
        return origin.partition("://")[2] == urlsplit(base).netloc

    def allow(self, request: Mapping[str, str], answer: Answer) -> Answer:
        """Add what a browser needs to let the page see the answer."""
        origin = request.get("Origin")
        if not self._origins:
            return answer
        if "*" in self._origins:
            answer = answer.having(("Access-Control-Allow-Origin", "*"))
        else:
            answer = answer.having(("Vary", "Origin"))
            if origin not in self._origins:
                return answer
            answer = answer.having(("Access-Control-Allow-Origin", origin))
        if request.get("Access-Control-Request-Method"):
            headers = request.get("Access-Control-Request-Headers")
            answer = answer.having(
                ("Access-Control-Allow-Methods", METHODS),
                ("Access-Control-Max-Age", PREFLIGHT_SECONDS),
            )
            return answer.having(("Access-Control-Allow-Headers", headers)) if headers else answer
        return answer.having(("Access-Control-Expose-Headers", EXPOSED))
