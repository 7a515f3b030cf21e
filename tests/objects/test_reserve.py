"""The space that is held for deletions."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.objects.blobs import Blobs, Full
from clary.objects.reserve import ROOMY, SIZE, Reserve


def test_it_holds_space_and_gives_it_up_once(tmp_path: Path) -> None:
    free = [ROOMY]
    reserve = Reserve(tmp_path / "reserve", lambda _: free[0])
    assert not reserve.give_up()
    reserve.keep()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= SIZE
    assert (reserve.give_up(), reserve.give_up()) == (True, False)
    free[0] = ROOMY - 1
    reserve.keep()
    assert (reserve.given_up, (tmp_path / "reserve").exists()) == (True, False)
    free[0] = ROOMY
    reserve.keep()
    assert (reserve.given_up, (tmp_path / "reserve").exists()) == (False, True)


def test_nothing_else_is_let_in_while_it_is_given_up(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, free=lambda _: 100 << 20)
    blobs.reserve.keep()
    blobs.check_space(10)
    assert blobs.reserve.give_up()
    with pytest.raises(Full, match=r"100 MiB are free, and deletions need them.*low_water"):
        blobs.check_space(10)
    blobs.reserve.keep()
    blobs.check_space(10)
    blobs.close()
