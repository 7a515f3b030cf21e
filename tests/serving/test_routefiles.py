"""Routes on disk."""

from __future__ import annotations

from pathlib import Path

from tests.serving.fakes import replica, route, variant

from clary.serving.routefiles import RouteFiles


def test_routes_come_back_from_disk_and_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    files = RouteFiles(tmp_path / "routes")
    assert files.load() == []
    one, two = route(variant("a", 1, replica("r1")), name="one"), route(variant("b", 0.5), name="two")
    files.save(one)
    files.save(two)
    (tmp_path / "routes" / "x.json").write_text('{"account"')
    assert sorted(files.load(), key=lambda r: r.name) == [one, two]
    assert (tmp_path / "routes" / "x.bad").exists()
    files.remove(one.account, one.region, "one")
    files.remove(one.account, one.region, "one")
    assert files.load() == [two]
