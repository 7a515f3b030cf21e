"""Questions of a front for models: "put this archive into that replica's folder", asked of the control plane.

Owns what is open and who waits for the answer; asks again when a control plane is back. Who waits decides how long it does: a question
has no deadline of its own. Does not know sockets: `send` is called with a question and the answer comes through `answer`.
"""

from __future__ import annotations

from collections.abc import Callable

from clary.domain.endpoints.target_models import Placement, TargetQuestion

Held = Callable[[Placement], None]


class TargetQuestions:
    """Open questions. The same question asked again while it is open replaces who waits."""

    def __init__(self) -> None:
        self.send: Callable[[TargetQuestion], None] = lambda question: None
        self.open: dict[TargetQuestion, Held] = {}

    def ask(self, question: TargetQuestion, held: Held) -> None:
        known = question in self.open
        self.open[question] = held
        if not known:
            self.send(question)

    def forget(self, question: TargetQuestion) -> None:
        """The requester no longer waits for the answer."""
        self.open.pop(question, None)

    def answer(self, question: TargetQuestion, placement: Placement) -> None:
        held = self.open.pop(question, None)
        if held is not None:
            held(placement)

    def ask_again(self) -> None:
        for question in list(self.open):
            self.send(question)
