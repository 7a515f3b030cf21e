"""One server for the whole folder."""

from tests.live import ACCEPTANCE, ROLE, ROOT, Server, server, start

__all__ = ["ACCEPTANCE", "ROLE", "ROOT", "Server", "server", "start"]
