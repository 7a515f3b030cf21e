"""How right a variant is with one endpoint config: by the labels that came, and estimated where they did not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.monitoring.captured import Row, Value
from clary.domain.monitoring.estimate import OF_A_REQUEST, Estimate
from clary.domain.monitoring.quality import LabelRule, Quality


@dataclass
class Performance:
    quality: Quality
    estimate: Estimate

    @classmethod
    def of(cls, rule: LabelRule) -> Performance:
        return cls(Quality(rule), Estimate(rule))

    @property
    def problem(self) -> str:
        return self.quality.problem or self.quality.rule.problem

    def answer(self, predictions: Sequence[Value], rows: Sequence[Row], at: float) -> list[Row]:
        """A request was answered, row by row; answers the rows that are to be kept until its labels come."""
        self.estimate.take(predictions, rows, self.problem, at)
        return list(rows[:OF_A_REQUEST]) if self.estimate.wants(self.problem) else []

    def join(self, predictions: Sequence[Value], labels: Sequence[Value], rows: Sequence[Row], at: float) -> None:
        """Labels came for a request of that time; `rows` are those that were kept of it."""
        self.quality.join(predictions, labels, at)
        if len(predictions) == len(labels):
            self.estimate.learn(predictions, labels, rows, self.problem)

    def told(self) -> dict[str, Any]:
        return {**self.quality.told(), "estimate": self.estimate.told(self.problem)}

    def document(self) -> dict[str, Any]:
        return {**self.quality.document(), "estimate": self.estimate.document()}

    @classmethod
    def read(cls, rule: LabelRule, document: Mapping[str, Any]) -> Performance:
        """What `document` wrote, as JSON gives it back."""
        ours = {name: value for name, value in document.items() if name != "estimate"}
        return cls(Quality.read(rule, ours), Estimate.read(rule, document.get("estimate", {})))
