"""The acceptance flows, as they are: unmodified clients from beginning to end."""

from __future__ import annotations

import pytest
from tests.sdk.conftest import ACCEPTANCE, ROOT, Server

FLOWS = (
    "v2_00",
    "v2_01",
    "v2_02",
    "v2_03",
    "v2_05",
    "v2_06",
    "v2_07",
    "v2_09",
    "v2_11",
    "v2_12",
    "v2_13",
    "v2_14",
    "v3_00",
    "v3_05",
    "v3_07",
    "cli_00",
)
needs_acceptance = pytest.mark.skipif(
    not ACCEPTANCE.exists(),
    reason=f"the acceptance scripts are not at {ACCEPTANCE}: set CLARY_ACCEPTANCE to their folder",
)


@needs_acceptance
@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("flow", FLOWS)
def test_flow_passes_unmodified(server: Server, flow: str) -> None:
    environments = {f"FLOW_{name.upper()}": str(ROOT / f".venv-{name}") for name in ("v2", "v3", "cli")}
    done = server.run(["bash", str(ACCEPTANCE / "flows" / "run.sh"), flow], timeout=280, **environments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 0 failed" in done.stdout
