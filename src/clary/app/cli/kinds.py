"""Kinds of SageMaker's resources as the CLI asks for them: which one a bare name is, by Describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: its ARN's first word, the stem of its operations, and the member that names it."""

    noun: str
    operation: str
    member: str

    @property
    def arn(self) -> str:
        """The member of Describe's answer with its ARN."""
        return f"{self.operation}Arn"

    def describe(self, client: Client, name: str) -> Mapping[str, Any]:
        """Its description. ApiFailure where there is none of that name."""
        return client.call("sagemaker", f"Describe{self.operation}", {self.member: name})


def first(client: Client, kinds: Iterable[Kind], name: str) -> tuple[Kind, Mapping[str, Any]] | None:
    """The first of these kinds that has something of that name, with its description."""
    for kind in kinds:
        try:
            return kind, kind.describe(client, name)
        except ApiFailure as error:
            if error.code != NOT_FOUND:
                raise
    return None
