"""What the queues of a front use of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clary.serving.queue import Variant


@dataclass(frozen=True, slots=True)
class Around:
    """`soon(call)` calls in the event loop's next turn, `later(seconds, call)` then; `arm(variant)` has its deadlines looked at."""

    request_id: Callable[[], bytes]
    soon: Callable[[Callable[[], None]], object]
    later: Callable[[float, Callable[[], None]], object]
    arm: Callable[[Variant], None]
