"""Secrets that the cases of cases.py name, as they would be made before the chart is installed."""

from restms_node import keys_file

PREFIX, SECRET = "rktest", "s" * 43
KEY = f"{PREFIX}.{SECRET}"

SECRETS = {
    "our-redis": {"url": "redis://:secret@redis.example:6379/0"},
    "our-redis-tls": {"ca.crt": "certificates"},
    "our-users": {
        "users": "# none yet\n",
        "keys": keys_file.line_of(PREFIX, SECRET, "tester", "staff", "") + "\n",
    },
    "our-valkey": {"word": "secret"},
    "our-test": {"authorization": f"Bearer {KEY}"},
}
