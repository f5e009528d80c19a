"""Keys of an issuer that are fetched from its URL, and kept up to date.

One task fetches them: now and then, and when a token names a key that is not known
yet, but then not oftener than every LEAST_SECONDS, whatever tokens come. While
the issuer cannot be reached, its keys are believed for STALE_SECONDS.
"""

import logging
import ssl
from collections.abc import Callable

import httpx
import trio

from restms_cluster.errors import UnavailableError
from restms_node import token_keys
from restms_node.token_keys import Keys
from restms_node.watched_file import LineError

FETCH_SECONDS = 5.0
LEAST_SECONDS = 10.0
REFRESH_SECONDS = 300.0
STALE_SECONDS = 24 * 3600.0
MOST_BYTES = 256 * 1024

_log = logging.getLogger("restms.keys")


class FetchedKeys:
    """The keys at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._tls = ssl.create_default_context()
        self._keys: Keys = ()
        self._body = b""
        self._came = float("-inf")
        self._rests_until = float("-inf")
        self._wanted = trio.Event()
        self._fetched = trio.Event()
        self._failing = False

    @property
    def keys(self) -> Keys:
        """The keys. Raises UnavailableError where they never came, or too long ago."""
        if trio.current_time() - self._came > STALE_SECONDS:
            raise UnavailableError("The keys that tokens are checked with cannot be had now.")
        return self._keys

    async def renew(self) -> None:
        """Have the keys fetched, unless they just were; return when that is done."""
        if trio.current_time() >= self._rests_until:
            self._wanted.set()
            with trio.move_on_after(FETCH_SECONDS):
                await self._fetched.wait()

    async def run(self, changed: Callable[[], None]) -> None:
        """Fetch the keys when it is time to; call `changed` when they are others than before."""
        async with httpx.AsyncClient(
            verify=self._tls, trust_env=False, timeout=FETCH_SECONDS, follow_redirects=False
        ) as client:
            while True:
                self._rests_until = float("-inf")  # who wants them now, waits for these
                if await self._fetch(client):
                    changed()
                self._rests_until = trio.current_time() + LEAST_SECONDS
                self._fetched.set()
                self._wanted, self._fetched = trio.Event(), trio.Event()
                with trio.move_on_after(LEAST_SECONDS if self._failing else REFRESH_SECONDS):
                    await self._wanted.wait()

    async def _fetch(self, client: httpx.AsyncClient) -> bool:
        """Fetch the keys; tell whether they are others than before."""
        try:
            with trio.fail_after(FETCH_SECONDS):
                body = await self._body_of(client)
            keys = self._keys if body == self._body else token_keys.read(body)
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError, OSError, LineError) as error:
            if not self._failing:
                reason = str(error) or type(error).__name__
                _log.warning("the keys at %s cannot be had: %s", self._url, reason)
            self._failing = True
            return False
        if self._failing:
            _log.info("the keys at %s can be had again", self._url)
        self._failing = False
        self._came = trio.current_time()
        changed = body != self._body
        self._keys, self._body = keys, body
        return changed

    async def _body_of(self, client: httpx.AsyncClient) -> bytes:
        # As it is: what is compressed could be of any size.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with client.stream("GET", self._url, headers=headers) as answer:
            if answer.status_code != 200:
                raise LineError(f"the answer has the status {answer.status_code}", 1)
            body = bytearray()
            # Its iterators are to end by themselves: httpx leaves those open that are left.
            with trio.CancelScope() as enough:
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        enough.cancel()
            if len(body) > MOST_BYTES:
                raise LineError(f"the answer is larger than {MOST_BYTES} bytes", 1)
            return bytes(body)
