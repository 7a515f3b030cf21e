"""One request and those who wait for its answer."""

from __future__ import annotations

from clary.serving.prediction import Prediction


class Waiter:
    def __init__(self) -> None:
        self.gone = False
        self.answers: list[bytes] = []

    def answer(self, response: bytes) -> None:
        self.answers.append(response)


def test_everybody_is_answered_once() -> None:
    first, second = Waiter(), Waiter()
    prediction = Prediction(first, b"", b"", False)
    prediction.waiters = [second]
    told: list[bool] = []
    prediction.settled = lambda prediction, response, modelled: told.append(modelled)
    prediction.settle(b"one", True)
    prediction.settle(b"two", False)
    assert first.answers == second.answers == [b"one"]
    assert told == [True]
