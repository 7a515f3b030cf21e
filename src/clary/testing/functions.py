"""The conformance class of the `Functions` port, and the fake in memory."""

from __future__ import annotations

import json

from clary.domain.functions.outcomes import UNHANDLED, Invoked, failed
from clary.domain.resources import Record
from clary.ports import Functions


class MemoryFunctions:
    """`ports.Functions`: each function answers its event; an event with "fail" fails with that. `ran` is what was asked for."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, bytes, str]] = []

    async def invoke(
        self, function: Record, payload: bytes, *, id_: str, client_context: str = "", tail: bool = False
    ) -> Invoked:
        self.ran.append((function.name, payload, id_))
        event = json.loads(payload or b"{}")
        if isinstance(event, dict) and event.get("fail"):
            return Invoked(failed("Error", str(event["fail"])), UNHANDLED)
        return Invoked(payload or b"{}", "", f"START RequestId: {id_}\n".encode() if tail else b"")


class FunctionsConformance:
    """Inherit, and give the implementation as the fixture `functions`, and a `function` that answers its event and fails with the text
    under "fail"."""

    async def test_a_function_is_given_its_event_and_answers(self, functions: Functions, function: Record) -> None:
        done = await functions.invoke(function, b'{"a": 1}', id_="one")
        assert (json.loads(done.payload), done.error, done.log) == ({"a": 1}, "", b"")

    async def test_what_it_does_wrong_is_an_answer(self, functions: Functions, function: Record) -> None:
        done = await functions.invoke(function, b'{"fail": "why"}', id_="one")
        assert done.error == UNHANDLED
        assert "why" in json.loads(done.payload)["errorMessage"]

    async def test_the_end_of_its_log_is_told_to_who_asks(self, functions: Functions, function: Record) -> None:
        done = await functions.invoke(function, b"{}", id_="two", tail=True)
        assert b"START RequestId: two" in done.log
