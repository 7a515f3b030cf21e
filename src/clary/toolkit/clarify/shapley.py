"""KernelSHAP (Lundberg and Lee 2017) for any model that can be asked, and baselines by clusters. Pure: numpy alone.

A coalition is a set of features that keep the explained row's values while the others have a baseline row's. Attributions are the
weighted least squares fit over coalitions whose sum is the prediction less the expected one: exact where all coalitions are asked.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clary.toolkit.clarify.columns import Column, continuous, distinct

Array = Any  # numpy.ndarray
AUTOMATIC = 2048  # and twice the number of features
_ROUNDS = 50


class Coalitions(NamedTuple):
    """`masks`: (coalitions, features) booleans; `weights`: their weights in the fit. Without the empty and the whole coalition."""

    masks: Array
    weights: Array


def coalitions(features: int, samples: int, seed: int) -> Coalitions:
    """All coalitions, or, where there are more than `samples` of them, the smallest and largest sizes whole and pairs of complements of
    the other sizes by chance, as the kernel weighs them."""
    budget = samples or 2 * features + AUTOMATIC
    total = 2**features - 2
    if total <= budget:
        numbers = np.arange(1, total + 1)
        masks = (numbers[:, None] >> np.arange(features)) & 1 == 1
        return Coalitions(masks, _kernel(features, masks.sum(axis=1)))
    found: List[Array] = []
    weights: List[float] = []
    sizes = list(range(1, features // 2 + 1))
    shares = {size: _share(features, size) * (1 if 2 * size == features else 2) for size in sizes}
    left = budget
    while sizes:
        size = sizes[0]
        count = math.comb(features, size) * (1 if 2 * size == features else 2)
        if count > left:
            break
        sizes.pop(0)
        left -= count
        for chosen in itertools.combinations(range(features), size):
            mask = np.zeros(features, dtype=bool)
            mask[list(chosen)] = True
            pair = [mask] if 2 * size == features else [mask, ~mask]
            found += pair
            weights += [shares[size] / count] * len(pair)
    return _sampled(features, found, weights, {size: shares[size] for size in sizes}, left, seed)


def _share(features: int, size: int) -> float:
    """The kernel's weight of all coalitions of one size together."""
    return (features - 1) / (size * (features - size))


def _kernel(features: int, sizes: Array) -> Array:
    each = {size: _share(features, size) / math.comb(features, size) for size in range(1, features)}
    return np.array([each[int(size)] for size in sizes])


def _sampled(
    features: int, found: List[Array], weights: List[float], shares: Dict[int, float], left: int, seed: int
) -> Coalitions:
    """Those given, and as many by chance as are left; the sampled ones have together the weight of the sizes they are of."""
    random = np.random.default_rng(seed)
    sizes = np.array(list(shares))
    odds = np.array(list(shares.values()))
    drawn: Dict[bytes, Tuple[Array, int]] = {}
    for _ in range(4 * max(1, left)):
        if len(drawn) + 2 > max(2, left):
            break
        size = int(random.choice(sizes, p=odds / odds.sum()))
        mask = np.zeros(features, dtype=bool)
        mask[random.permutation(features)[:size]] = True
        for each in (mask, ~mask):
            key = each.tobytes()
            drawn[key] = (each, drawn.get(key, (each, 0))[1] + 1)
    times = sum(count for _, count in drawn.values())
    found += [mask for mask, _ in drawn.values()]
    weights += [odds.sum() * count / times for _, count in drawn.values()]
    return Coalitions(np.array(found), np.array(weights))


def solver(chosen: Coalitions) -> Callable[[Array, Array], Array]:
    """`solve(values, total)`: attributions (features, outputs) of the coalitions' values less the expected one (coalitions, outputs) and
    of the prediction less the expected one (outputs,). They add up to it."""
    masks = chosen.masks.astype(float)
    roots = np.sqrt(chosen.weights / chosen.weights.max())[:, None]
    inverse = np.linalg.pinv((masks[:, :-1] - masks[:, -1:]) * roots)

    def solve(values: Array, total: Array) -> Array:
        free = inverse @ ((values - masks[:, -1:] * total) * roots)
        return np.vstack([free, total - free.sum(axis=0)])

    return solve


Ask = Callable[[List[List[Any]]], Array]


class Explainer:
    """Explains rows of cells. `ask` answers rows with scores (rows, outputs); `groups` are the players, each a tuple of columns that keep
    or lose their values together. `logit`: attributions are of the scores' log odds. `plans`: of so
    many sets of players the coalitions are kept."""

    def __init__(
        self,
        ask: Ask,
        baseline: Sequence[Sequence[Any]],
        groups: Sequence[Tuple[int, ...]],
        samples: int,
        seed: int,
        logit: bool,
        plans: int = 1 << 16,
    ) -> None:
        self._ask, self._logit = ask, logit
        self._baseline = [list(each) for each in baseline]
        self._groups, self._samples, self._seed, self._most = list(groups), samples, seed, plans
        self._plans: Dict[Tuple[int, ...], Tuple[Coalitions, Callable[[Array, Array], Array]]] = {}
        self.expected = self._scores(self._baseline).mean(axis=0)

    def explain(self, row: Sequence[Any]) -> Array:
        """Attributions (players, outputs) of one row: they add up to its score less `expected`. A player whose values no baseline row
        changes has 0."""
        playing = tuple(
            at
            for at, group in enumerate(self._groups)
            if any(base[c] != row[c] for base in self._baseline for c in group)
        )
        result = np.zeros((len(self._groups), len(self.expected)))
        total = self._scores([list(row)])[0] - self.expected
        if len(playing) == 1:
            result[playing[0]] = total
        elif playing:
            if playing not in self._plans:
                if len(self._plans) >= self._most:
                    self._plans.clear()
                chosen = coalitions(len(playing), self._samples, self._seed)
                self._plans[playing] = (chosen, solver(chosen))
            chosen, solve = self._plans[playing]
            values = self._scores([made for mask in chosen.masks for made in self._mixed(row, playing, mask)])
            means = values.reshape(len(chosen.masks), len(self._baseline), -1).mean(axis=1)
            result[list(playing)] = solve(means - self.expected, total)
        return result

    def _mixed(self, row: Sequence[Any], playing: Tuple[int, ...], mask: Array) -> List[List[Any]]:
        """The baseline rows with the coalition's cells out of the row."""
        kept = [column for at, keeps in zip(playing, mask) if keeps for column in self._groups[at]]
        made = []
        for base in self._baseline:
            mixed = list(base)
            for column in kept:
                mixed[column] = row[column]
            made.append(mixed)
        return made

    def _scores(self, rows: List[List[Any]]) -> Array:
        scores = self._ask(rows)
        if not self._logit:
            return scores
        clipped = np.clip(scores, 1e-12, 1 - 1e-12)
        return np.log(clipped / (1 - clipped))


def aggregate(values: Array, how: str) -> Array:
    """Global attributions (features, outputs) of local ones (rows, features, outputs)."""
    if how == "mean_sq":
        return (values**2).mean(axis=0)
    return np.median(np.abs(values), axis=0) if how == "median" else np.abs(values).mean(axis=0)


def clustered(columns: Sequence[Column], count: int, seed: int) -> List[List[Any]]:
    """Baseline rows: the centres of `count` clusters by k-prototypes, numbers by their means, categories by their most frequent value."""
    quantities = [each.kind != "text" and continuous(each, ()) for each in columns]
    rows = len(columns[0].values)
    count = min(count, rows)
    spread = np.zeros((rows, len(columns)))
    for at, each in enumerate(columns):
        if quantities[at]:
            filled = np.where(np.isnan(each.values), np.nanmean(each.values), each.values)
            spread[:, at] = (filled - filled.mean()) / (filled.std() or 1)
        else:
            places = {value: number for number, value in enumerate(distinct(each))}
            spread[:, at] = [places.get(value, -1) for value in each.values.tolist()]
    numeric = np.array(quantities)
    random = np.random.default_rng(seed)
    centres = spread[random.choice(rows, count, replace=False)]
    belongs: Optional[Array] = None
    for _ in range(_ROUNDS):
        distances = np.stack([_distance(spread, centre, numeric) for centre in centres])
        nearest = distances.argmin(axis=0)
        if belongs is not None and (nearest == belongs).all():
            break
        belongs = nearest
        for at in range(count):
            if (belongs == at).any():
                centres[at] = [_centre(spread[belongs == at, c], bool(numeric[c])) for c in range(len(columns))]
    assert belongs is not None
    members = [np.flatnonzero(belongs == at) for at in range(count)]
    return [[_cell(each, numeric[at], own) for at, each in enumerate(columns)] for own in members if len(own)]


def _distance(spread: Array, centre: Array, numeric: Array) -> Array:
    return ((spread - centre)[:, numeric] ** 2).sum(axis=1) + (spread != centre)[:, ~numeric].sum(axis=1)


def _centre(values: Array, numeric: bool) -> float:
    return float(values.mean()) if numeric else _frequent(values.tolist())


def _frequent(values: List[Any]) -> Any:
    counts: Dict[Any, int] = {}
    for each in values:
        counts[each] = counts.get(each, 0) + 1
    return max(counts, key=lambda each: counts[each])


def _cell(given: Column, numeric: bool, own: Array) -> Any:
    """The centre of a cluster in one column, as a cell."""
    values = given.values[own]
    if given.kind == "text":
        return _frequent(values.tolist())
    seen = values[~np.isnan(values)]
    if not len(seen):
        return None
    return float(seen.mean()) if numeric else _whole(_frequent(seen.tolist()))


def _whole(value: float) -> Any:
    return int(value) if float(value).is_integer() else value
