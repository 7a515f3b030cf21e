"""A state folder remembers its database and object store, and starts with no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clary.app import bindings
from clary.app.bindings import Bindings
from clary.app.settings import Settings
from clary.domain.errors import Unavailable

URL = "postgresql://clary:secret@db.example.org:5433/clary"


def settings(folder: Path, **values: str) -> Settings:
    return Settings(dir=str(folder), **values)  # type: ignore[arg-type]


def test_a_fresh_folder_takes_any(tmp_path: Path) -> None:
    bindings.check(settings(tmp_path, database=URL))
    bindings.check(settings(tmp_path))


def test_another_database_is_refused_with_both_named_and_no_password(tmp_path: Path) -> None:
    bindings.remember(settings(tmp_path, database=URL))
    with pytest.raises(Unavailable) as caught:
        bindings.check(settings(tmp_path))
    assert caught.value.message == (
        f"{tmp_path} was last used with the database postgresql://db.example.org:5433/clary, and the setting 'database' now names "
        "records.db in the folder: set it as before (in clary.toml, or CLARY_DATABASE), or start once with --other-stores to use the new "
        "database"
    )
    assert "secret" not in (tmp_path / "bindings.json").read_text()
    with pytest.raises(Unavailable, match=r"now names postgresql://db\.example\.org:5433/other"):
        bindings.check(settings(tmp_path, database=URL.replace("/clary", "/other")))


def test_another_object_store_is_refused(tmp_path: Path) -> None:
    bindings.remember(settings(tmp_path, s3_endpoint="http://minio:9000"))
    bindings.check(settings(tmp_path, s3_endpoint="http://minio:9000/"))
    with pytest.raises(
        Unavailable,
        match=r"with the object store http://minio:9000, .* 's3_endpoint' now names Clary's own: .*CLARY_S3_E",
    ):
        bindings.check(settings(tmp_path))


@pytest.mark.parametrize(
    "same",
    [
        URL.replace("secret", "changed"),
        URL.replace("clary:secret@", "other@"),
        URL.replace("postgresql:", "postgresql+psycopg:"),
        URL + "?sslmode=require&connect_timeout=3",
    ],
)
def test_who_connects_and_how_may_change(tmp_path: Path, same: str) -> None:
    bindings.remember(settings(tmp_path, database=URL))
    bindings.check(settings(tmp_path, database=same))


def test_a_socket_s_folder_is_a_place(tmp_path: Path) -> None:
    one = Bindings.of(settings(tmp_path, database="postgresql://u@/d?host=/run/pg&user=x"))
    assert one.database == "postgresql:///d?host=/run/pg"
    assert one != Bindings.of(settings(tmp_path, database="postgresql://u@/d?host=/run/other"))


def test_what_was_insisted_on_is_remembered(tmp_path: Path) -> None:
    first = settings(tmp_path, database=URL)
    bindings.remember(first)
    bindings.remember(replace(first, database=""))
    bindings.check(settings(tmp_path))
    with pytest.raises(Unavailable):
        bindings.check(first)


def test_a_damaged_memory_is_no_memory_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "bindings.json").write_text("{")
    with pytest.raises(Unavailable, match=r"bindings\.json is damaged: remove it"):
        bindings.check(settings(tmp_path))
