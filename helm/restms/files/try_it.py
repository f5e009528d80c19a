"""`helm test`: a message is published through one node, awaited at another, and acknowledged.

Run as `python3 try_it.py HOST:PORT...` with the addresses of nodes; a name may lead to several.
AUTHORIZATION, in the environment, is what requests say in that header.
"""

import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

START_SECONDS = 60  # until there are ready nodes
WAIT_SECONDS = 20
REQUEST_SECONDS = WAIT_SECONDS + 10
PARKED_SECONDS = 1  # until the other request surely waits; if it does not yet, that is no failure
TYPE = "application/restms+json"


class FailedError(Exception):
    """What went otherwise than it should, in one sentence."""


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirects)


def ask(node, method, path, document=None, expected=(200, 201)):
    """Make a request of one node; return the answer's headers and its document."""
    headers = {"Accept": TYPE, "Content-Type": TYPE, "Prefer": f"wait={WAIT_SECONDS}"}
    if os.environ.get("AUTHORIZATION"):
        headers["Authorization"] = os.environ["AUTHORIZATION"]
    data = None if document is None else json.dumps({"restms": document}).encode()
    request = urllib.request.Request(node + path, data, headers, method=method)
    try:
        with _opener.open(request, timeout=REQUEST_SECONDS) as answer:
            status, found, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, found, body = error.code, error.headers, error.read()
    if status not in expected:
        text = body.decode(errors="replace").strip()
        raise FailedError(f"{method} at {node} was answered {status}: {text}")
    is_document = body and found.get("Content-Type", "").startswith(TYPE)
    return found, json.loads(body)["restms"] if is_document else {}


def is_ready(node):
    try:
        ask(node, "GET", "/readyz")
    except (OSError, FailedError):
        return False
    return True


def resolved(addresses):
    """Return the URLs of all nodes that the addresses lead to."""
    found = set()
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        except socket.gaierror:
            continue
        for place in places:
            ip = place[4][0]
            found.add(f"http://[{ip}]:{port}" if ":" in ip else f"http://{ip}:{port}")
    return sorted(found)


def two_nodes(addresses):
    """Return two nodes that are ready; the same one twice where there is one only."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        ready = [node for node in resolved(addresses) if is_ready(node)]
        if ready:
            return ready[0], ready[-1]
        if time.monotonic() > deadline:
            raise FailedError(f"No node is ready at {' '.join(addresses)}.")
        time.sleep(1)


def try_it(one, other):
    """Send a message from one node to the other."""
    headers, _ = ask(one, "POST", "/restms/domain/default", {"pipe": {}})
    # Its path alone: the URI may be one for clients outside of the cluster.
    pipe = urlsplit(headers["Location"]).path
    try:
        send_and_receive(one, other, pipe)
    finally:
        ask(one, "DELETE", pipe)


def send_and_receive(one, other, pipe):
    came = []

    def wait():
        try:
            came.append(ask(other, "GET", f"{pipe}-1")[1])
        except (OSError, ValueError, FailedError) as error:
            came.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(PARKED_SECONDS)
    if came:
        raise FailedError(f"{other} did not wait, but answered {came[0]}.")
    text = os.urandom(8).hex()
    message = {"address": pipe.rpartition("/")[2], "content": {"value": text}}
    began = time.monotonic()
    ask(one, "POST", "/restms/feed/default", {"message": message})
    waiting.join(REQUEST_SECONDS)
    if not came:
        raise FailedError(f"{other} did not answer.")
    if isinstance(came[0], Exception) or text not in json.dumps(came[0]):
        raise FailedError(f"The message did not come at {other}: {came[0]}")
    print(f"published at {one}, received at {other} after {time.monotonic() - began:.3f} s")
    ask(other, "DELETE", f"{pipe}-1")
    ask(one, "GET", f"{pipe}-1", expected=(404,))
    print("acknowledged: the message is gone")


def main(addresses):
    try:
        one, other = two_nodes(addresses)
        if one == other:
            print(f"there is one node only, {one}")
        try_it(one, other)
    except (OSError, ValueError, FailedError) as error:
        print(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
