"""`clary parity` on what boto3 made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.sdk.acts import PYTHON, User
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]
CLARY = str(Path(sys.executable).with_name("clary"))


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def test_a_config_and_its_model_are_looked_at(user: User, tmp_path: Path) -> None:
    model = user.scripted({"code/inference.py": "def model_fn(d): return 1"}, {}, PYTHON)
    tags = [{"Key": "clary:latency-objective-ms", "Value": "100"}]
    config = user.config({"ModelName": model, "InitialInstanceCount": 2}, KmsKeyId="k", Tags=tags)
    (tmp_path / "prices.json").write_text('{"ml.m5.large": 0.5}')
    folder = ("--dir", str(user.server.settings.root))
    done = user.server.run([CLARY, "parity", config, "--prices", str(tmp_path / "prices.json"), "--json", *folder])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["resource"].endswith(f":endpoint-config/{config}")
    found = {(each["kind"], each["what"]): each for each in told["differences"]}
    assert ("field", "KmsKeyId") in found
    assert ("tag", "clary:latency-objective-ms=100") in found
    assert found["instance", "2 x ml.m5.large"]["why"].endswith("1 an hour, 720 in 30 days")
    assert found["image", PYTHON]["resource"] == f"model {model}"
    lines = user.server.run([CLARY, "parity", told["resource"], *folder]).stdout.splitlines()
    assert lines[0].split() == ["RESOURCE", "KIND", "WHAT", "ON", "AWS"]
    missing = user.server.run([CLARY, "parity", "nothing-of-that-name", *folder])
    assert (missing.returncode, "is named nothing-of-that-name" in missing.stderr) == (4, True)
    wrong = user.server.run([CLARY, "parity", config, "--prices", str(tmp_path / "none.json"), *folder])
    assert wrong.returncode == 2
