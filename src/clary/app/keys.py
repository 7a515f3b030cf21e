"""Where credentials are: in the state folder, or in PostgreSQL where the setting `database` names one, so that all heads have the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from clary.app.settings import Settings
from clary.ports import Fronts
from clary.stores.keys import FileKeys, KeptKeys, Keyring, read_folder

if TYPE_CHECKING:
    from clary.stores.sql_keys import SqlKeys

FOLDER = "keys"


def open_keys(settings: Settings) -> Keyring:
    """The keyring of these settings."""
    return keys_at(settings.root, settings.database)


def keys_at(root: Path, database: str) -> Keyring:
    """The same, of a state folder and the setting `database`."""
    return _shared_keys(database) if shared(database) else FileKeys(root / FOLDER)


def shared(database: str) -> bool:
    """Whether the setting `database` names a server, which several heads may share."""
    return database.startswith("postgres")


def take_in(settings: Settings) -> None:
    """Before a start: a database gets the key pairs that the state folder has from before it was used, once."""
    if not shared(settings.database):
        return
    kept = read_folder(settings.root / FOLDER)
    if kept is not None:
        keys = _shared_keys(settings.database)
        # The first head's master secret becomes everybody's, so that what was issued and sealed by it stays good.
        keys.adopt(kept, master=not keys.all())
        keys.close()


def tell_fronts(keys: Keyring, fronts: Fronts) -> None:
    """From now on the fronts here forget a key that another head revoked. On the event loop."""
    import asyncio  # commands on keys need no event loop, and are quick without it

    loop, telling = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def tell(access_key_id: str) -> None:
        task = loop.create_task(fronts.revoke(access_key_id))
        telling.add(task)
        task.add_done_callback(telling.discard)

    def gone(access_key_id: str) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it all that the fronts were told by
            loop.call_soon_threadsafe(tell, access_key_id)

    keys.watch(gone)


def shared_kept(settings: Settings) -> KeptKeys:
    """All that the database keeps."""
    keys = _shared_keys(settings.database)
    try:
        return keys.kept()
    finally:
        keys.close()


def _shared_keys(database: str) -> SqlKeys:
    from clary.stores.sql_keys import SqlKeys  # commands on a folder's keys need not load SQLAlchemy

    return SqlKeys(database)
