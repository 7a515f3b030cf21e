"""The node's end: what a control plane asks over a link, the machine's own backend does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from clary.backends.remote.calls import CALLS
from clary.backends.remote.link import NodeLink, Pulse
from clary.domain.errors import Invalid, Unschedulable
from clary.ports import Backend

HELLO = "hello"


async def serve(
    backend: Backend[Any],
    node: str,
    fronts: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    pulse: Pulse | None = None,
) -> None:
    """Answer over this connection until it is lost or this is cancelled; runs go on. `fronts`: how many its sandboxes reach."""
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
        return CALLS[call].answered(await getattr(backend, call)(**asked))

    link = NodeLink(node, reader, writer, answer, lambda _news: None, lambda _link: over.set(), pulse or Pulse())
    leave = backend.watch(link.tell)
    try:
        await over.wait()
    finally:
        leave()
        await link.close()


def _listener(backend: Backend[Any]) -> str:
    """Where its sandboxes dial a listener of the control plane, whatever that is called; "" where they reach none."""
    try:
        return str(backend.address(HELLO))
    except Unschedulable:
        return ""
