"""Whether a new fleet serves worse than the old one: a sequential test on the front's counts. Pure.

Two questions are asked of the requests that both fleets answer at the same time: does the new one fail more often, and is it slow
more often (slower than `SLOWER` times what the old fleet's p99 was)? Each is a comparison of two binomials, tested by the e-process
of R. Turner, A. Ly and P. Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional stopping",
Journal of Statistical Planning and Inference 230 (2024), arXiv:2106.02693.

Between two looks the old fleet answered a requests and the new one b. With rates p < q that were guessed from *earlier* looks and
r = (a p + b q) / (a + b), the likelihood of the outcomes under (p, q) over that under (r, r) is an e-variable: its expectation is at
most 1 whenever the new fleet is no worse. Multiplied over the looks it is a supermartingale, so it ever reaches 1/alpha with
probability at most alpha (Ville), however often and whenever one looks. Alpha is split over all questions of a rollout, hence it is
the chance that a good rollout is ever turned back by this test.

Late in a rollout the old fleet has little to do and is quick, the new one has nearly all. So slowness alone must also break the
promise of the p99 itself: more than `RARE` of the new fleet's answers are slow, by the same kind of test against that one rate. A
fleet is slow when both tests say so. Where either of the two claims (no slower than the old one now, or than its p99 was) is true,
that one's test is wrong with probability at most alpha, and so is their conjunction. Requests that were turned away at the door count
for neither fleet: they tell of load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.extensions import figure

TAG = "clary:rollback-on-regression"
LARGEST = 0.5
SLOWER = 1.2  # times the old fleet's p99: what is slower than that is slow
RARE = 0.01  # the part of the answers that a p99 lets be slower
_FLOOR, _CEILING = 1e-6, 1 - 1e-6
QUESTIONS = ("failed", "slow")
_NOTHING: Mapping[str, Any] = {"old": [0, 0], "new": [0, 0], "log": 0.0, "most": 0.0, "rare": 0.0, "most_rare": 0.0}


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one variant of one fleet, monotone while its front lives."""

    answered: int = 0
    failed: int = 0
    slow: int = 0


def rate_of(text: str, where: str) -> float:
    """The false alarm rate that a tag or setting gives; 0 for "", which asks for no test. Invalid for what is none."""
    must = f"{where} must be a false alarm rate above 0 and at most {LARGEST:g} (0.01, say)"
    return figure(text, LARGEST, must)


def weighed(before: Mapping[str, Any], old: Tally, new: Tally) -> dict[str, Any]:
    """One variant's evidence with what was counted since the last look. The first look ({} before it) only begins the count; a front
    that started again counts from nought again."""
    first = not before
    deltas = {}
    for fleet, tally in (("old", old), ("new", new)):
        known = before.get(fleet, [0, 0, 0])
        now = [tally.answered, tally.failed, tally.slow]
        deltas[fleet] = (
            [0, 0, 0] if first or now[0] < known[0] else [max(0, n - k) for n, k in zip(now, known, strict=True)]
        )
    after: dict[str, Any] = {
        "old": [old.answered, old.failed, old.slow],
        "new": [new.answered, new.failed, new.slow],
    }
    for at, question in enumerate(QUESTIONS, 1):
        sums = before.get(question, _NOTHING)
        block = tuple((min(d[at], d[0]), d[0]) for d in (deltas["old"], deltas["new"]))
        log = sums["log"] + _log_e(sums, *block)
        rare = sums["rare"] + _log_rare(sums, block[1]) if question == "slow" else 0.0
        after[question] = {
            "old": [sums["old"][0] + block[0][0], sums["old"][1] + block[0][1]],
            "new": [sums["new"][0] + block[1][0], sums["new"][1] + block[1][1]],
            "log": log,
            "most": max(sums["most"], log),
        }
        if question == "slow":
            after[question] |= {"rare": rare, "most_rare": max(sums["most_rare"], rare)}
    return after


def _log_e(sums: Mapping[str, Any], old: tuple[int, int], new: tuple[int, int]) -> float:
    """The logarithm of one look's e-variable. The guess for the new fleet begins at the old one's rate, so nothing is staked, and
    nothing lost, before there is a reason."""
    (bad_old, a), (bad_new, b) = old, new
    if not a or not b:
        return 0.0
    p = _clamp((sums["old"][0] + 0.5) / (sums["old"][1] + 1))
    q = _clamp((sums["new"][0] + p) / (sums["new"][1] + 1))
    if q <= p:
        return 0.0
    r = (a * p + b * q) / (a + b)
    return (
        bad_old * math.log(p / r)
        + (a - bad_old) * math.log((1 - p) / (1 - r))
        + bad_new * math.log(q / r)
        + (b - bad_new) * math.log((1 - q) / (1 - r))
    )


def _log_rare(sums: Mapping[str, Any], new: tuple[int, int]) -> float:
    """The same for one binomial against the rate `RARE`."""
    bad, b = new
    q = _clamp((sums["new"][0] + RARE) / (sums["new"][1] + 1))
    if q <= RARE:
        return 0.0
    return bad * math.log(q / RARE) + (b - bad) * math.log((1 - q) / (1 - RARE))


def _clamp(rate: float) -> float:
    return min(_CEILING, max(_FLOOR, rate))


def verdict(evidence: Mapping[str, Any], variants: int, alpha: float) -> str:
    """Why to go back, in words; "" while there is no reason. `evidence` by variant, of which `variants` are compared in all."""
    if not alpha or not evidence:
        return ""
    bar = math.log(len(QUESTIONS) * max(1, variants) / alpha)
    for variant, known in evidence.items():
        for question in QUESTIONS:
            sums = known[question]
            if min(sums["most"], sums.get("most_rare", math.inf)) >= bar:
                (bad, n), (bad_new, n_new) = sums["old"], sums["new"]
                what = "failed" if question == "failed" else f"took longer than {SLOWER:g} times the old fleet's p99"
                return (
                    f"On variant {variant} {bad_new} of {n_new} requests to the new fleet {what}, and {bad} of {n} to the old one: a "
                    f"regression (false alarm rate {alpha:g})."
                )
    return ""
