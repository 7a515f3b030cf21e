"""Lineage steps: what they may ask for, and the requests that record it. Pure.

Source: SDK v2's `sagemaker/workflow/lineage_step.py`; the limits are those of reference/lifecycle.md 8.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid

MOST_ENTITIES, MOST_ASSOCIATIONS = 5, 10
MEMBERS = ("Actions", "Artifacts", "Contexts", "Associations")


@dataclass(frozen=True, slots=True)
class LineageNoun:
    """One kind of entity: the member of Arguments, and the members of its requests. `changed`: what Update takes."""

    noun: str
    changed: tuple[str, ...]

    @property
    def member(self) -> str:
        return f"{self.noun}s"

    @property
    def name(self) -> str:
        return f"{self.noun}Name"

    @property
    def arn(self) -> str:
        return f"{self.noun}Arn"

    @property
    def arns(self) -> str:
        """The property of the step: name -> ARN."""
        return f"{self.noun}Arns"


NOUNS = (
    LineageNoun("Action", ("Description", "Status", "Properties")),
    LineageNoun("Artifact", ("ArtifactName", "Properties")),
    LineageNoun("Context", ("Description", "Properties")),
)


def check(step: str, arguments: Mapping[str, Any]) -> None:
    """Invalid for what could not be recorded. Expressions are not looked into."""
    unknown = sorted(set(arguments) - set(MEMBERS))
    if unknown:
        raise Invalid(f"Step '{step}' of type Lineage has the argument '{unknown[0]}'; it takes {', '.join(MEMBERS)}.")
    if not any(arguments.get(member) for member in MEMBERS):
        raise Invalid(f"Step '{step}' of type Lineage needs at least one of {', '.join(MEMBERS)}.")
    for member in MEMBERS:
        rows, most = arguments.get(member) or [], MOST_ASSOCIATIONS if member == "Associations" else MOST_ENTITIES
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Invalid(f"{member} of step '{step}' must be a list of objects.")
        if len(rows) > most:
            raise Invalid(f"Step '{step}' has {len(rows)} {member}; {most} are allowed.")
    known = {
        (noun.noun, row[noun.name]) for noun in NOUNS for row in _rows(arguments, noun.member) if _named(row, noun)
    }
    for row in _rows(arguments, "Associations"):
        for end in ("Source", "Destination"):
            _check_end(step, end, row.get(end), known)


def _rows(arguments: Mapping[str, Any], member: str) -> list[Mapping[str, Any]]:
    return arguments.get(member) or []


def _named(row: Mapping[str, Any], noun: LineageNoun) -> bool:
    return isinstance(row.get(noun.name), str)


def _check_end(step: str, end: str, given: Any, known: set[tuple[str, str]]) -> None:
    if not isinstance(given, dict) or not ("Arn" in given or {"Name", "Type"} <= set(given)):
        raise Invalid(f"The {end} of an association of step '{step}' needs Arn, or Name and Type.")
    name, kind = given.get("Name"), given.get("Type")
    if "Arn" not in given and isinstance(name, str) and (kind, name) not in known:
        raise Invalid(f"An association of step '{step}' names the {kind} '{name}', which the step does not make.")


def end_of(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """The ARN of an association's end. Invalid for a name that the step did not record."""
    if given.get("Arn"):
        return str(given["Arn"])
    found = recorded.get(f"{given.get('Type')}Arns", {}).get(given.get("Name"))
    if not found:
        raise Invalid(
            f"An association names the {given.get('Type')} '{given.get('Name')}', which the step does not make."
        )
    return str(found)
