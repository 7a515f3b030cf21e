"""`GET /capacity`: the resources of the machine, who uses and who waits for them, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from clary.app.keyed_page import Application, KeyedPage
from clary.domain.machine import capacity_view
from clary.domain.machine.capacity import Book
from clary.domain.machine.machines import MachineRow
from clary.ports import Keys


class CapacityPage(KeyedPage):
    def __init__(
        self, application: Application, keys: Keys, book: Callable[[], Book], rows: Callable[[], Sequence[MachineRow]]
    ) -> None:
        async def render(account: str, _: Mapping[str, str]) -> str:
            return json.dumps(capacity_view.view(book(), account, rows())) + "\n"

        super().__init__(application, keys, capacity_view.PATH, "application/json", render)
