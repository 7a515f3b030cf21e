"""What the queues of a front use of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clary.serving.gathered import Room

if TYPE_CHECKING:
    from clary.serving.queue import Variant


@dataclass(frozen=True, slots=True)
class Around:
    """`soon(call)` calls in the event loop's next turn, `later(seconds, call)` then; `arm(variant)` has its deadlines looked at.
    `max_answer` bounds an answer where the route does not say otherwise, `max_payload` what goes from one container to the next, `room`
    what is gathered of large ones."""

    request_id: Callable[[], bytes]
    soon: Callable[[Callable[[], None]], object]
    later: Callable[[float, Callable[[], None]], object]
    arm: Callable[[Variant], None]
    max_answer: int = 25 << 20
    max_payload: int = 25 << 20
    room: Room = field(default_factory=Room)
