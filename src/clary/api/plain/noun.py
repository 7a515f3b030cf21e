"""`Noun`, the row of a plain record, and the table of those that are registered. Values only; `operations.py` gives them life."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.api.call import Call, Params
from clary.domain.resources import KINDS, Record

Made = Callable[[Call, Params], Any]
Complete = Callable[[Call, str, Params], Awaitable[Params]]
Narrow = Callable[[Call, Params], Awaitable[Callable[[Record], bool]]]
Numbered = Callable[[Call, "Noun", Params], Awaitable[Record]]
Own = Callable[[Call, "Noun", Params], Awaitable[Record]]
VERBS = ("Create", "Describe", "List", "Update", "Delete")


@dataclass(frozen=True, slots=True)
class Noun:
    """One kind of plain record. `name` is botocore's: the operations are Create`name`, Describe`name`, List`plural` and so on.

    `key` are the members that name the record; the key of its `parent` comes first. The record's own name is their values joined by "/",
    which is also the tail of its ARN. Every member of Create and Update must be in the key, be shown by Describe, or be explained in
    `ignored` or `refused` ("Member" or "Operation Member" -> why): a row that forgets one fails at import."""

    kind: str  # a row of domain/resources.KINDS
    name: str
    plural: str
    key: tuple[str, ...]
    status: tuple[str, str] = (
        "Status",
        "InService",
    )  # the member, and what it always is; ("", "") for kinds without one
    parent: str = ""  # the kind that it belongs to, which must exist, and which it holds in existence
    verbs: tuple[str, ...] = VERBS
    operations: Mapping[str, str] = field(default_factory=dict)  # verb -> operation, where AWS has another name
    generated: Mapping[str, Made] = field(
        default_factory=dict
    )  # members that Create makes up where they are not given, in this order
    counter: str = ""  # the member of the key that counts up in the parent
    unique: str = ""  # a member besides the key that no two records of an account and region share
    indexed: tuple[str, ...] = ()  # further members that the store can filter by
    renames: Mapping[str, str] = field(default_factory=dict)  # members of requests -> of Describe
    roles: tuple[str, ...] = ()  # members that are ARNs of roles, which SageMaker must be allowed to take
    filters: Mapping[str, Callable[[Record, Any], bool]] = field(
        default_factory=dict
    )  # of List, beyond the common ones
    order: tuple[str, str] = ("CreationTime", "Descending")  # of List, where AWS's reference tells no default
    removes: str = ""  # the member of Update that lists members to remove
    holds: Mapping[str, str] = field(
        default_factory=dict
    )  # kinds with handlers of their own that it holds -> their key for its name
    cascade: bool = False  # Delete takes what it holds along, as AWS documents
    missing: str = 'Could not find {label} "{arn}": it does not exist.'
    taken: str = ""  # what Create says of a name that is taken
    ignored: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    begin: Mapping[str, Any] = field(default_factory=dict)  # what the document has at first, besides
    acts: tuple[str, ...] = ()  # further members of Create and Update that a function of the row's own acts on
    numbered: Numbered | None = None  # counts a version in the parent, where something else is written with the count
    complete: Complete | None = None  # adds members of the key that a request may leave out
    narrow: Narrow | None = None  # a filter of List that needs to look
    own: Mapping[str, Own] = field(default_factory=dict)  # verb -> a function instead of the common one
    says: Mapping[str, str] = field(default_factory=dict)  # verb -> a sentence for docs/operations.md
    search: str = ""  # the Resource of Search that it is

    @property
    def label(self) -> str:
        return KINDS[self.kind].label

    @property
    def arn(self) -> str:
        """The member that shows the record's ARN."""
        return f"{self.name}Arn"

    def operation(self, verb: str) -> str:
        return self.operations.get(verb) or f"{verb}{self.plural if verb == 'List' else self.name}"

    def why(self, use: Mapping[str, str], operation: str, member: str) -> str | None:
        """What `ignored` or `refused` says of a member of an operation; None: nothing."""
        return use.get(f"{operation} {member}") or use.get(member)


NOUNS: dict[str, Noun] = {}
"""Kind -> row: the first that `operations.register` was given of the kind. A further one adds operations for the same records."""


def children(noun: Noun) -> list[Noun]:
    """The nouns that belong to this one."""
    return [other for other in NOUNS.values() if other.parent == noun.kind]


def above(noun: Noun) -> Noun | None:
    return NOUNS[noun.parent] if noun.parent else None


def parents_key(noun: Noun) -> tuple[str, ...]:
    """The members of the key that name the parent."""
    parent = above(noun)
    return parent.key if parent is not None else ()


def own_name(noun: Noun, record: Record) -> str:
    """The record's name without its parent's."""
    return record.name.split("/", len(parents_key(noun)))[-1]
