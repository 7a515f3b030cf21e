"""The last route of every endpoint on disk, so that a front serves without the control plane.

Owns the files (one per endpoint, whole or absent). Does not know what a route means. Blocking: called from a thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from clary.domain.endpoints.routes import EndpointRoute


class RouteFiles:
    """A folder of routes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> list[EndpointRoute]:
        """Every route that reads well; one that does not is set aside (`.bad`), for a front must start."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        routes = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                routes.append(EndpointRoute.from_json(json.loads(path.read_bytes())))
            except (ValueError, TypeError, KeyError, AttributeError):
                path.replace(path.with_suffix(".bad"))
        return routes

    def save(self, route: EndpointRoute) -> None:
        path = self._path(route.account, route.region, route.name)
        fresh = path.with_suffix(".new")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(fresh, "wb") as file:
            file.write(json.dumps(route.to_json()).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        self._sync()

    def remove(self, account: str, region: str, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._path(account, region, name).unlink()
            self._sync()

    def _path(self, account: str, region: str, name: str) -> Path:
        # a hash, because a name that a user gives never becomes a path
        return self.folder / (hashlib.sha256(f"{account}/{region}/{name}".encode()).hexdigest()[:32] + ".json")

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
