"""The broker's state transitions, one Lua script each, run by Redis."""
