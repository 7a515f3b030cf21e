"""One server for the examples of all pages."""

from tests.live import server, start

__all__ = ["server", "start"]
