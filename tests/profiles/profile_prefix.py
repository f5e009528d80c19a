"""A profile that does not come with the server: feeds that route by the address's beginning."""

from pathlib import Path

from restms_cluster.profiles import Profile

PROFILE = Profile(
    name="example/Prefix",
    title="Prefix profile",
    text="A feed of the type prefix routes to every join whose address begins the message's.\n",
    lua=Path(__file__).with_suffix(".lua").read_text("utf-8"),
)
