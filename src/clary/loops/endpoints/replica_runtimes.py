"""The runtime that an image selects for replicas, and which environment of it they get.

Owns what is to be done where a newer Python serves built-in algorithms and its environment cannot be had: a machine without an index
serves with the one that it trains with. Does not know endpoints, and which Pythons there are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from clary.domain.errors import Invalid
from clary.domain.machine.workload import Environment
from clary.loops.core.user_code import for_user_code
from clary.ports import Runtime, Runtimes

log = logging.getLogger(__name__)
Say = Callable[[str], None]


class ReplicaRuntimes:
    """One per process, on the event loop."""

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes
        self._without: set[Runtime] = set()  # which are served by the plain environment until Clary starts again

    def runtime(self, image: str, program: str) -> Runtime:
        """For user code the richer one of the same framework, where there are two. Invalid where none is known."""
        runtime = self._runtimes.resolve(image)
        if runtime is None:
            raise Invalid(f"Image '{image}' stands for no runtime of Clary.")
        if program:
            return for_user_code(self._runtimes, runtime)
        return replace(runtime, serving=True)

    def is_built(self, image: str, program: str, extra: str) -> bool:
        try:
            return self._built(self.runtime(image, program), extra) is not None
        except Invalid:
            return False

    async def ensure(self, runtime: Runtime, extra: str = "", say: Say | None = None) -> Environment:
        if runtime in self._without and (found := self._built(runtime, extra)) is not None:
            return found
        try:
            return await self._runtimes.ensure(runtime, extra, say)
        except Invalid as error:
            plain = self._runtimes.built(_plain(runtime), extra)
            if plain is None:
                raise
            self._without.add(runtime)
            first = error.message.partition("\n")[0].rstrip(".")  # the rest of uv's words was said
            line = (
                f"{first}. Until Clary starts again, the runtime {runtime.name} serves under the Python that it "
                "trains with, which is slower; `clary runtime build` makes the other environment."
            )
            log.warning("%s", line)
            if say is not None:
                say(line)
            return plain

    async def opener(self, image: str, program: str, say: Say) -> Environment:
        """To unpack a model in: whichever is there, for all can; else the one that its replicas are likely to have."""
        serving = self.runtime(image, "")
        plain = _plain(serving)
        if plain.image:
            return await self._runtimes.ensure(plain, "", say)
        found = self._built(serving) or self._runtimes.built(plain)
        return found or await self._runtimes.ensure(plain if program else serving, "", say)

    def _built(self, runtime: Runtime, extra: str = "") -> Environment | None:
        found = self._runtimes.built(runtime, extra)
        if found is None and runtime in self._without:
            found = self._runtimes.built(_plain(runtime), extra)
        return found


def _plain(runtime: Runtime) -> Runtime:
    """The same, as jobs have it."""
    return replace(runtime, serving=False)
