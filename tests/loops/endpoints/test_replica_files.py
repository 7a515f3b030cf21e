"""What a replica finds on its mounts."""

from __future__ import annotations

from pathlib import Path

from clary.loops.endpoints import replica_files


def test_the_spec_is_whole_and_readable_and_what_a_predecessor_was_resized_to_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "spec").mkdir()
    (tmp_path / "spec" / "memory").write_text("1")
    replica_files.make(tmp_path, "{}", multi_model=False)
    assert [path.name for path in (tmp_path / "spec").iterdir()] == ["replica.json"]
    assert (tmp_path / "spec" / "replica.json").stat().st_mode & 0o777 == 0o644
    replica_files.resized(tmp_path, 5)
    assert not (tmp_path / "spec" / "memory").exists()


def test_a_multi_model_replica_learns_its_new_size(tmp_path: Path) -> None:
    replica_files.make(tmp_path, "{}", multi_model=True)
    assert (tmp_path / "archives").stat().st_mode & 0o777 == 0o755
    replica_files.resized(tmp_path, 1 << 30)
    assert (tmp_path / "spec" / "memory").read_text() == str(1 << 30)
