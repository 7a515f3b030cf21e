from tests.live import server, start

__all__ = ["server", "start"]
