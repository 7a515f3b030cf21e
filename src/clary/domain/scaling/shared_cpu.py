"""How much CPU the endpoints on Clary's own policy share when the machine is full. Pure; the sharing itself is
`scaling/sharing.py`.

Under `fit` CPU is shared by weights: what other endpoints use now is theirs, jobs get what is left over. Under `strict` what is reserved
is nobody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from clary.domain.machine.capacity import Book, Owner, Part
from clary.domain.scaling.samples import Key
from clary.domain.scaling.sharing import Claim


def cpus_left(book: Book, ours: Collection[Owner], used: float) -> float:
    """CPUs for all of `ours`. `used` are those that replicas of others use, as measured. One is left to them in any case."""
    taken = used
    if book.policy == "strict":
        taken = sum(fit.cpu for claim in book.claims if claim.owner not in ours for fit in claim.held)
    return max(1.0, book.machine.cpus - taken)


def owner_of(key: Key) -> Owner:
    """Whose a variant is."""
    account, region, endpoint, _ = key
    return Owner("endpoint", endpoint, account, region)


def parts(claims: Mapping[Key, Claim], cuts: Mapping[Key, int]) -> tuple[Part, ...]:
    """What was cut, as the account of the machine has it."""
    return tuple(Part(owner_of(key), key[3], cut, claims[key].wanted, claims[key].cost) for key, cut in cuts.items())
