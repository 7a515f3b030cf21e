"""What a state folder is bound to: the database of its records and the object store that it was last used with.

One forgotten line of a unit file would else start on other records, or with other objects, and look empty. Kept in `bindings.json`, without
user names, passwords and keys: those may change.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from clary.app.settings import Settings
from clary.domain.errors import Unavailable

FILE = "bindings.json"
INSIST = "--other-stores"
OWN_RECORDS, OWN_OBJECTS = "records.db in the folder", "Clary's own"
_PLACES = ("host", "hostaddr", "port", "dbname")  # of a URL's query, as libpq reads them


@dataclass(frozen=True, slots=True)
class Bindings:
    """Each as it may be shown to people."""

    database: str
    objects: str

    @classmethod
    def of(cls, settings: Settings) -> Bindings:
        objects = settings.s3_endpoint.rstrip("/") or OWN_OBJECTS
        return cls(_place(settings.database) if settings.database else OWN_RECORDS, objects)


def known(root: Path) -> Bindings | None:
    """Those that the folder remembers; None before its first start was complete."""
    try:
        said = json.loads((root / FILE).read_text())
        return Bindings(str(said["database"]), str(said["objects"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{root / FILE} is damaged: remove it, and the next start writes it again") from error


def check(settings: Settings) -> None:
    """Unavailable when the settings name another database or object store than the folder remembers."""
    before, now = known(settings.root), Bindings.of(settings)
    if before is None or before == now:
        return
    if before.database != now.database:
        what, name, old, new = "database", "database", before.database, now.database
    else:
        what, name, old, new = "object store", "s3_endpoint", before.objects, now.objects
    raise Unavailable(
        f"{settings.root} was last used with the {what} {old}, and the setting '{name}' now names {new}: set it as before (in "
        f"clary.toml, or CLARY_{name.upper()}), or start once with {INSIST} to use the new {what}"
    )


def remember(settings: Settings) -> None:
    """From now on the folder belongs to these."""
    now = Bindings.of(settings)
    if known(settings.root) == now:
        return
    new = settings.root / f"{FILE}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(now), file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(settings.root / FILE)


def _place(url: str) -> str:
    """A database's URL without who connects: kind, host, port, name."""
    parts = urlsplit(url)
    query = "&".join(f"{name}={value}" for name, value in sorted(parse_qsl(parts.query)) if name in _PLACES)
    kind = "postgresql" if parts.scheme.startswith("postgres") else parts.scheme
    return f"{kind}://{parts.netloc.rpartition('@')[2]}{parts.path}" + (f"?{query}" if query else "")
