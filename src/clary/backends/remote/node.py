"""The node's end: what a control plane asks over a link, the machine's own backend does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from clary.backends.remote.calls import CALLS
from clary.backends.remote.link import NodeLink, Pulse
from clary.domain.errors import Invalid, Unschedulable
from clary.domain.machine.workload import Observation
from clary.ports import Backend

HELLO = "hello"


async def serve(
    backend: Backend[Any],
    node: str,
    fronts: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pulse: Pulse | None = None,
    beside: Callable[[NodeLink], Awaitable[None]] | None = None,
    seen: Callable[[Observation | None], Awaitable[None]] | None = None,
) -> None:
    """Answer over this connection until it is lost or this is cancelled; runs go on. `fronts`: how many its sandboxes reach. `beside`: what
    the node asks of its control plane meanwhile; where that ends the connection does. `seen` is awaited before an observation is told."""
    over = asyncio.Event()

    async def answer(call: str, given: Mapping[str, Any]) -> Any:
        if call == HELLO:
            addresses = [str(backend.address(number)) for number in range(fronts)]
            hello = {"node": node, "features": sorted(backend.features), "addresses": addresses}
            return {**hello, "listener": _listener(backend)}
        if call not in CALLS:
            raise Invalid(f"node {node} cannot {call}: give all machines the same Clary")
        asked = CALLS[call].given(given)
        if call == "start":
            asked["request"] = backend.plan(asked["request"])
        found = await getattr(backend, call)(**asked)
        if call == "observe" and seen is not None:
            await seen(found)
        return CALLS[call].answered(found)

    link = NodeLink(node, reader, writer, answer, lambda _news: None, lambda _link: over.set(), pulse or Pulse())
    leave = backend.watch(link.tell)
    asks = asyncio.ensure_future(beside(link)) if beside is not None else None
    waits = asyncio.create_task(over.wait())
    try:
        await asyncio.wait([waits, *([asks] if asks else [])], return_when=asyncio.FIRST_COMPLETED)
    finally:
        leave()
        waits.cancel()
        if asks is not None:
            asks.cancel()
            await asyncio.gather(asks, return_exceptions=True)
        await link.close()


def _listener(backend: Backend[Any]) -> str:
    """Where its sandboxes dial a listener of the control plane, whatever that is called; "" where they reach none."""
    try:
        return str(backend.address(HELLO))
    except Unschedulable:
        return ""
