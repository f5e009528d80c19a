"""What a user of Redis must be allowed, as the nodes and the commands for operators are.

The one list of the commands in use: `restms doctor` asks for each of them, and the tests fail
when a script or a node uses one that is not here. Each command stands with arguments with which
it could be run; `KEY` is a key of a domain.
"""

from collections.abc import Mapping

from restms_cluster.link import Argument

KEY = "restms:{domain}:key"
RESTED_KEYS = ("restms:rested",)
"""Keys that are no domain's."""

Examples = Mapping[str, tuple[Argument, ...]]

SCRIPTS: Examples = {
    "DEL": (KEY,),
    "EXISTS": (KEY,),
    "GET": (KEY,),
    "GETRANGE": (KEY, 0, 0),
    "HDEL": (KEY, "f"),
    "HEXISTS": (KEY, "f"),
    "HGET": (KEY, "f"),
    "HINCRBY": (KEY, "f", 1),
    "HLEN": (KEY,),
    "HMGET": (KEY, "f"),
    "HRANDFIELD": (KEY,),
    "HSET": (KEY, "f", ""),
    "HSETNX": (KEY, "f", ""),
    "HVALS": (KEY,),
    "LINDEX": (KEY, 0),
    "LLEN": (KEY,),
    "LPOP": (KEY,),
    "LRANGE": (KEY, 0, 0),
    "PERSIST": (KEY,),
    "PEXPIRE": (KEY, 1),
    "PUBLISH": (KEY, ""),
    "RPUSH": (KEY, ""),
    "SADD": (KEY, ""),
    "SET": (KEY, "", "PX", 1),
    "SISMEMBER": (KEY, ""),
    "SRANDMEMBER": (KEY,),
    "SREM": (KEY, ""),
    "SSCAN": (KEY, 0),
    "STRLEN": (KEY,),
    "TIME": (),
    "UNLINK": (KEY,),
    "XADD": (KEY, "*", "f", ""),
    "XDEL": (KEY, "1-1"),
    "XLEN": (KEY,),
    "XRANGE": (KEY, "-", "+"),
    "XSETID": (KEY, "1-1"),
    "XTRIM": (KEY, "MINID", "1-1"),
    "ZADD": (KEY, 1, ""),
    "ZCARD": (KEY,),
    "ZCOUNT": (KEY, 0, 0),
    "ZRANGE": (KEY, 0, 0),
    "ZRANGEBYSCORE": (KEY, 0, 0),
    "ZREM": (KEY, ""),
    "ZREMRANGEBYSCORE": (KEY, 0, 0),
    "ZSCAN": (KEY, 0),
    "ZSCORE": (KEY, ""),
}
"""Commands that the scripts run, for which Redis asks their user as well."""

NODES: Examples = {
    "EVAL": ("return 1", 1, KEY),
    "EVALSHA": ("0" * 40, 1, KEY),
    "HELLO": (),
    "PING": (),
    "SCRIPT|LOAD": ("return 1",),
    "SCRIPT|EXISTS": ("0" * 40,),
    "SUBSCRIBE": (KEY,),
    "UNSUBSCRIBE": (KEY,),
}
"""Commands that nodes cannot do without, beside those of the scripts."""

QUOTA: Examples = {"MEMORY|USAGE": (KEY,), "SCAN": (0,)}
"""Commands of scripts that only a quota of bytes needs (`bytes_per_domain`)."""

REPLICAS: Examples = {"WAIT": (0, 1)}
"""Commands that only the levels with replicas need."""

DISK: Examples = {"CONFIG|GET": ("appendfsync",)}
"""Commands that only the levels with disk need; other nodes look at settings if they may."""

CLUSTER: Examples = {"CLUSTER|SLOTS": (), "CLUSTER|NODES": ()}
"""Commands that only a Redis Cluster needs."""

OPTIONAL: Examples = {
    "CLIENT|KILL": ("TYPE", "normal", "SKIPME", "yes"),
    "CLIENT|SETNAME": ("restms",),
    "CONFIG|GET": ("maxmemory",),
    "CONFIG|SET": ("notify-keyspace-events", "Kt"),
    "INFO": ("server",),
    "PUBSUB|NUMSUB": (KEY,),
}
"""Commands that nodes use where they may, and do without where they may not."""

TRANSACTION = ("MULTI", "EXEC", "DISCARD")
"""Commands that, with CLIENT KILL, only nodes need that bring the state to a newer format.

They cannot be asked for within a transaction, as the others are: EXEC would carry those out.
"""

SENTINEL = ("SENTINEL|GET-MASTER-ADDR-BY-NAME", "SENTINEL|MASTER")
"""Commands that nodes ask Sentinels by."""

INSPECT = (
    *("CLIENT|SETNAME", "DBSIZE", "EVAL_RO", "GET", "HELLO", "HGET", "HLEN", "HMGET", "HSCAN"),
    *("INFO", "LLEN", "SCAN", "SCARD", "TIME", "XLEN", "XRANGE", "ZCARD", "ZSCAN", "ZSCORE"),
)
"""Commands of `restms inspect`, which needs to read keys (`%R~restms:*`) and no more."""

DOCTOR = (
    *("ACL|DRYRUN", "ACL|WHOAMI", "CLIENT|SETNAME", "CONFIG|GET", "DISCARD", "HELLO", "HGET"),
    *("INFO", "MULTI", "PING", "TIME"),
)
"""Commands of `restms doctor --read-only`; what it may not look at it says. Without that option
it also needs EVAL, SUBSCRIBE and what its probe does, as a node has them."""

DOCTOR_OF_SENTINELS = ("SENTINEL|CKQUORUM", "SENTINEL|REPLICAS")
"""Commands that `restms doctor` asks Sentinels by, beside those of nodes."""


def on(key: str, examples: Examples) -> dict[str, tuple[Argument, ...]]:
    """Return examples with the name of a real key, each as the words of a command."""
    return {
        name: (*name.split("|"), *(key if word == KEY else word for word in words))
        for name, words in examples.items()
    }


def rule(name: str) -> str:
    """Return a command as ACL SETUSER allows it."""
    return f"+{name.lower()}"
