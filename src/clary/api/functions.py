"""The way from handlers to where functions run: shut until that has begun, since it is built over the same ports as handlers."""

from __future__ import annotations

from clary.domain.errors import Unavailable
from clary.domain.functions.outcomes import Invoked
from clary.domain.resources import Record
from clary.ports import Functions


class FunctionsDoor:
    """See `ports.Functions`. `open` once."""

    def __init__(self) -> None:
        self._behind: Functions | None = None

    def open(self, functions: Functions) -> None:
        self._behind = functions

    async def invoke(
        self, function: Record, payload: bytes, *, id_: str, client_context: str = "", tail: bool = False
    ) -> Invoked:
        if self._behind is None:
            raise Unavailable("Functions cannot be invoked yet: Clary is starting. Try again.")
        return await self._behind.invoke(function, payload, id_=id_, client_context=client_context, tail=tail)
