"""What the hub's training script makes of its channels and arguments, where no library is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.toolkit.hub import training


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("TRAINING", "TRAIN", "VALIDATION"):
        monkeypatch.delenv(f"SM_CHANNEL_{name}", raising=False)
    return tmp_path


def test_folders_in_one_channel(channels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAINING", str(channels))
    assert training.folders() == (str(channels), None)
    (channels / "train").mkdir()
    (channels / "validation").mkdir()
    assert training.folders() == (str(channels / "train"), str(channels / "validation"))


def test_channels_of_their_own(channels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SM_CHANNEL_TRAIN", str(channels / "a"))
    monkeypatch.setenv("SM_CHANNEL_VALIDATION", str(channels / "b"))
    assert training.folders() == (str(channels / "a"), str(channels / "b"))


@pytest.mark.usefixtures("channels")
def test_no_channel_is_told() -> None:
    with pytest.raises(SystemExit, match="There is no channel 'training'"):
        training.folders()


def test_hyperparameters_have_the_types_of_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    given = training.parsed({"rounds": 3, "rate": 0.1}, ["--rounds", "5", "--unknown", "x"])
    assert given == {"rounds": 5, "rate": 0.1}
    assert "without effect: --unknown x" in capsys.readouterr().out
