"""The shared broker: domains, feeds, pipes, joins, messages and contents in Redis. No HTTP here."""
