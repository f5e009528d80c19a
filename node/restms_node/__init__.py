"""A node: the broker spoken over HTTP. No Redis here."""
