"""What is compared predicts with the same: the peers of the benchmark have the XGBoost that Clary's runtime has, on every Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.backends.images import pinned

ROOT = Path(__file__).resolve().parents[2]
PEERS = sorted(path.stem for path in (ROOT / "benchmarks" / "peers" / "requirements").glob("*.in"))
OURS = (ROOT / "src/clary/backends/environments/xgboost.txt").read_text()


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
@pytest.mark.parametrize(
    "peer",
    [
        name
        for name in PEERS
        if name
        not in ("feast", "metaflow", "mlflow", "mlserver", "prefect", "raytune", "river", "evidently", "nannyml")
    ],
)  # see scripts/lock
def test_both_sides_of_a_ratio_have_the_same_libraries(peer: str, python: tuple[int, int]) -> None:
    theirs = (ROOT / "benchmarks" / "peers" / "requirements" / f"{peer}.txt").read_text()
    for package in ("xgboost-cpu", "numpy"):
        assert pinned(theirs, package, python) == pinned(OURS, package, python) != ""


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
def test_both_sides_of_a_search_have_the_same_optuna(python: tuple[int, int]) -> None:
    theirs = (ROOT / "benchmarks" / "peers" / "requirements" / "raytune.txt").read_text()
    ours = (ROOT / "src/clary/backends/environments/tuning.txt").read_text()
    for package in ("optuna", "numpy"):
        assert pinned(theirs, package, python) == pinned(ours, package, python) != ""


@pytest.mark.parametrize("python", [(3, 11), (3, 12), (3, 13)])
def test_both_sides_of_a_drift_have_the_same_numpy(python: tuple[int, int]) -> None:
    theirs = (ROOT / "benchmarks" / "peers" / "requirements" / "evidently.txt").read_text()
    ours = (ROOT / "src/clary/backends/environments/monitor.txt").read_text()
    assert pinned(theirs, "numpy", python) == pinned(ours, "numpy", python) != ""
