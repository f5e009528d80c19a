"""Nodes of several versions, and what clients find while one takes the other's place."""

from tests.end_to_end.conftest import client_of

__all__ = ["client_of"]
