"""A workload that was asked for, on disk: `shim/request.json` in the run's folder, until the run is forgotten. It holds secrets (0600)."""

from __future__ import annotations

from collections.abc import Mapping

from clary.backends.state import Folder
from clary.domain.machine.workload import Workload
from clary.domain.stored import dumped, loaded

NAME = "request.json"


def keep(folder: Folder, workload: Workload, secrets: Mapping[str, str]) -> None:
    """Durable when this is done. The first request of a run stays: another one of its key asks for the same."""
    if not there(folder):
        folder.write(NAME, {"workload": dumped(workload), "secrets": dict(secrets)})


def there(folder: Folder) -> bool:
    """Whether the run is one by value."""
    return (folder.path / NAME).exists()


def kept(folder: Folder) -> tuple[Workload, Mapping[str, str]] | None:
    """What was asked for, and its secrets; None for a run that is not by value."""
    said = folder.read(NAME)
    return (loaded(Workload, said["workload"]), said["secrets"]) if said else None
