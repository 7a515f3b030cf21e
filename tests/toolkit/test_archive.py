"""The extractor against what attackers and broken uploads put into archives (faults.md rows 1 to 5)."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.toolkit.archive import ArchiveError, ArchiveLimits, extract

Add = Callable[[tarfile.TarFile], None]


def _file(name: str, content: bytes = b"x", **fields: object) -> Add:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in fields.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(content))

    return add


def _special(name: str, kind: bytes, link: str = "") -> Add:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = link
        tar.addfile(info)

    return add


def _tar(*adds: Add, form: int = tarfile.GNU_FORMAT, packed: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if packed else "w", format=form) as tar:
        for add in adds:
            add(tar)
    return buffer.getvalue()


def _extract(tmp_path: Path, data: bytes, limits: ArchiveLimits | None = None) -> dict[str, bytes]:
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(data)
    target = tmp_path / "in" / "model"
    (tmp_path / "in").mkdir(exist_ok=True)
    extract(str(archive), str(target), limits)
    return {str(p.relative_to(target)): p.read_bytes() for p in sorted(target.rglob("*")) if p.is_file()}


def _refused(tmp_path: Path, data: bytes, limits: ArchiveLimits | None = None) -> str:
    before = {str(p) for p in tmp_path.rglob("*")}
    with pytest.raises(ArchiveError) as caught:
        _extract(tmp_path, data, limits)
    left = {str(p) for p in tmp_path.rglob("*")} - before
    assert left <= {str(tmp_path / "model.tar.gz"), str(tmp_path / "in")}, "something was left behind"
    return str(caught.value)


class TestWhatIsTaken:
    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
    @pytest.mark.parametrize("packed", [True, False])
    def test_files_and_folders(self, tmp_path: Path, form: int, packed: bool) -> None:
        data = _tar(
            _special("./", tarfile.DIRTYPE),
            _special("./empty/", tarfile.DIRTYPE),
            _file("./xgboost-model", b"m" * 1000),
            _file("code/inference.py", b"pass"),
            form=form,
            packed=packed,
        )
        assert _extract(tmp_path, data) == {"xgboost-model": b"m" * 1000, "code/inference.py": b"pass"}
        assert (tmp_path / "in/model/empty").is_dir()

    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_and_foreign_names(self, tmp_path: Path, form: int) -> None:
        name = "/".join(["d" * 90] * 3) + "/größe-模型.bin"
        assert _extract(tmp_path, _tar(_file(name, b"1"), form=form)) == {name: b"1"}

    def test_modes_lose_everything_but_execution(self, tmp_path: Path) -> None:
        _extract(tmp_path, _tar(_file("run.sh", mode=0o4755), _file("data", mode=0o666, mtime=1_000_000)))
        run, data = tmp_path / "in/model/run.sh", tmp_path / "in/model/data"
        assert stat.S_IMODE(run.stat().st_mode) & ~0o022 == 0o755 & ~0o022
        assert not data.stat().st_mode & 0o111
        assert data.stat().st_mtime == 1_000_000

    def test_a_later_member_replaces_an_earlier_one(self, tmp_path: Path) -> None:
        assert _extract(tmp_path, _tar(_file("a", b"old"), _file("a", b"new!"))) == {"a": b"new!"}

    def test_several_gzip_members_are_one_stream(self, tmp_path: Path) -> None:
        plain = _tar(_file("a", b"y" * 5000), packed=False)
        data = b"".join(gzip.compress(plain[i : i + 3000]) for i in range(0, len(plain), 3000))
        assert _extract(tmp_path, data) == {"a": b"y" * 5000}

    def test_zero_padding_after_the_gzip(self, tmp_path: Path) -> None:
        assert _extract(tmp_path, _tar(_file("a")) + b"\0" * 700) == {"a": b"x"}

    def test_an_empty_folder_may_stand_there(self, tmp_path: Path) -> None:
        (tmp_path / "in/model").mkdir(parents=True)
        assert _extract(tmp_path, _tar(_file("a"))) == {"a": b"x"}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("../../x", "leads out of the archive"),
            ("a/../../x", "leads out of the archive"),
            ("/etc/passwd", "an absolute path"),
            ("C:\\x", "a backslash"),
            ("..\\..\\x", "a backslash"),
            ("d" * 256, "too long"),
            ("a/" * 70 + "x", "too deep"),
        ],
    )
    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_names(self, tmp_path: Path, name: str, why: str, form: int) -> None:
        message = _refused(tmp_path, _tar(_file("good"), _file(name), form=form))
        assert why in message
        assert name[:30].replace("\\", "\\") in message

    def test_nul_in_a_pax_name(self, tmp_path: Path) -> None:
        data = _tar(_file("x", pax_headers={"path": "evil\0name"}), form=tarfile.PAX_FORMAT)
        assert "NUL" in _refused(tmp_path, data)

    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (tarfile.SYMTYPE, "a symbolic link"),
            (tarfile.LNKTYPE, "a hard link"),
            (tarfile.CHRTYPE, "a character device"),
            (tarfile.BLKTYPE, "a block device"),
            (tarfile.FIFOTYPE, "a FIFO"),
            (b"Z", "neither a file nor a folder"),
        ],
    )
    def test_kinds(self, tmp_path: Path, kind: bytes, why: str) -> None:
        message = _refused(tmp_path, _tar(_file("good"), _special("weights.bin", kind, "/etc/passwd")))
        assert why in message
        assert '"weights.bin"' in message

    def test_writing_through_a_link(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        data = _tar(_special("link", tarfile.SYMTYPE, str(outside)), _file("link/evil"))
        _refused(tmp_path, data)
        assert not list(outside.iterdir())

    def test_sparse_entries(self, tmp_path: Path) -> None:
        header = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 63)}
        data = _tar(_file("huge", pax_headers=header), form=tarfile.PAX_FORMAT)
        assert "a sparse file" in _refused(tmp_path, data)
        assert "a sparse file" in _refused(tmp_path, _tar(_special("huge", b"S")))

    def test_a_size_beyond_everything(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("huge")
        info.size = 1 << 62
        data = info.tobuf(tarfile.GNU_FORMAT)
        assert "over the limit" in _refused(tmp_path, data)
        data = _tar(_file("huge", pax_headers={"size": "9" * 30}), form=tarfile.PAX_FORMAT)
        assert "damaged" in _refused(tmp_path, data)

    @pytest.mark.parametrize("text", [b"-0000000001", b"0000000_001", b"+0000000001", b"99999999999"])
    def test_a_size_that_is_no_number(self, tmp_path: Path, text: bytes) -> None:
        header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
        header[124:136] = text + b"\0"
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        assert "damaged" in _refused(tmp_path, bytes(header))

    def test_a_file_that_is_also_a_folder(self, tmp_path: Path) -> None:
        assert "both a file and a folder" in _refused(tmp_path, _tar(_file("a"), _file("a/b")))
        assert "both a file and a folder" in _refused(tmp_path, _tar(_file("a/b"), _file("a")))

    def test_a_giant_header(self, tmp_path: Path) -> None:
        info = tarfile.TarInfo("././@LongLink")
        info.type = tarfile.GNUTYPE_LONGNAME
        info.size = 1 << 40
        assert "header" in _refused(tmp_path, info.tobuf(tarfile.GNU_FORMAT))


class TestCaps:
    def test_bytes(self, tmp_path: Path) -> None:
        data = _tar(_file("a", b"a" * 600), _file("b", b"b" * 600))
        message = _refused(tmp_path, data, ArchiveLimits(bytes=1000))
        assert '"b"' in message
        assert "1000 bytes" in message

    def test_entries(self, tmp_path: Path) -> None:
        data = _tar(*(_special(f"d{n}/", tarfile.DIRTYPE) for n in range(30)))
        assert "more than 20 entries" in _refused(tmp_path, data, ArchiveLimits(entries=20))

    @pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    @pytest.mark.parametrize("packed", [True, False])
    def test_too_many_entries_are_counted_not_written(self, tmp_path: Path, form: int, packed: bool) -> None:
        """What would stop the extraction after the look ahead is never come to. Long names and data have headers and blocks between."""
        many = [_file(f"{'long/' * 30}{n % 500}", os.urandom(n % 3000)) for n in range(1200)]
        many[1100] = _file("../outside")
        data = _tar(*many, form=form, packed=packed)
        assert "more than 1199 entries" in _refused(tmp_path, data, ArchiveLimits(entries=1199, unseen=600))
        assert "outside" in _refused(tmp_path, data, ArchiveLimits(entries=1200, unseen=600))

    def test_many_entries_within_the_limit(self, tmp_path: Path) -> None:
        data = _tar(*(_file(f"{n % 300}", str(n).encode()) for n in range(900)))
        whole = _extract(tmp_path, data, ArchiveLimits(entries=900, unseen=500))
        assert whole == {str(n % 300): str(n).encode() for n in range(600, 900)}

    def test_headers_without_members(self, tmp_path: Path) -> None:
        """A member may have headers before it, but not without end."""
        info = tarfile.TarInfo("././@LongLink")
        info.type = tarfile.GNUTYPE_LONGNAME
        data = info.tobuf(tarfile.GNU_FORMAT) * 100 + tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)
        assert "too many headers" in _refused(tmp_path, data, ArchiveLimits(entries=20))

    def test_a_nested_archive_is_a_file(self, tmp_path: Path) -> None:
        """A bomb inside an archive stays packed: nothing opens it."""
        bomb = gzip.compress(b"\0" * (16 << 20))
        assert _extract(tmp_path, _tar(_file("inner.tar.gz", bomb))) == {"inner.tar.gz": bomb}

    def test_a_bomb_stops_at_its_ratio(self, tmp_path: Path) -> None:
        """A few kilobytes that would become gigabytes: stopped long before, and the disk is as it was."""
        info = tarfile.TarInfo("bomb")
        info.size = 100 << 30
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = packer.compress(info.tobuf(tarfile.GNU_FORMAT)) + packer.compress(b"\0" * (300 << 20)) + packer.flush()
        assert len(data) < 1 << 20
        assert "bomb" in _refused(tmp_path, data, ArchiveLimits(bytes=1 << 40, ratio=200))

    def test_endless_headers(self, tmp_path: Path) -> None:
        data = gzip.compress(b"\0" * (40 << 20))
        assert "larger than the limit" in _refused(tmp_path, data, ArchiveLimits(bytes=1 << 20, entries=10))


class TestDamage:
    def test_truncated_anywhere(self, tmp_path: Path) -> None:
        whole = _tar(_file("a", os.urandom(3000)), _file("b", os.urandom(3000)))
        for cut in range(0, len(whole) - 1, 101):
            message = _refused(tmp_path, whole[:cut])
            assert "truncated" in message or "empty" in message

    @pytest.mark.parametrize(
        "data",
        [b"", b"PK\x03\x04 a zip", b"BZh9", b"\x1f\x8b", b"{}", b"\x1f\x8b\x08\0" + b"\xff" * 100, b"#" * 2000],
    )
    def test_wrong_magic(self, tmp_path: Path, data: bytes) -> None:
        _refused(tmp_path, data)

    @pytest.mark.parametrize("data", [b"print('a script, not packed')", b"#" * 2000])
    def test_what_is_no_archive_is_told_so(self, tmp_path: Path, data: bytes) -> None:
        assert "tar" in _refused(tmp_path, data)

    def test_garbage_after_the_end(self, tmp_path: Path) -> None:
        whole = _tar(_file("a"))
        assert "garbage" in _refused(tmp_path, whole + b"trailing")

    def test_concatenated_archives(self, tmp_path: Path) -> None:
        one = _tar(_file("a"), packed=False)
        assert "garbage" in _refused(tmp_path, one + _tar(_file("b"), packed=False))
        assert "garbage" in _refused(tmp_path, _tar(_file("a")) + _tar(_file("b")))

    def test_a_damaged_checksum_of_the_gzip(self, tmp_path: Path) -> None:
        whole = bytearray(_tar(_file("a", b"q" * 4000)))
        whole[-6] ^= 1
        assert "gzip" in _refused(tmp_path, bytes(whole))

    def test_a_damaged_header(self, tmp_path: Path) -> None:
        whole = bytearray(_tar(_file("a"), _file("b"), packed=False))
        whole[1024] ^= 1
        assert "damaged" in _refused(tmp_path, bytes(whole))

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_any_bytes_end_in_an_answer(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        """Mutated archives either extract inside the target or are refused; nothing else is raised."""
        whole = bytearray(_tar(_file("a/b", b"1" * 700), _special("c/", tarfile.DIRTYPE), packed=False))
        for _ in range(data.draw(st.integers(1, 6))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        folder = tmp_path_factory.mktemp("fuzz")
        try:
            _extract(folder, bytes(whole), ArchiveLimits(bytes=1 << 20, entries=100))
        except ArchiveError:
            pass
        assert {p.name for p in folder.iterdir()} <= {"in", "model.tar.gz"}
        assert {p.name for p in (folder / "in").iterdir()} <= {"model"}


def test_the_root_that_the_sdks_write_when_they_repack_a_model(tmp_path: Path) -> None:
    """`tar.add(folder, arcname=os.path.sep)`: a folder named "/", everything else relative."""
    folder = tmp_path / "repacked"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text("x")
    (folder / "model.joblib").write_text("y")
    data = _tar(lambda tar: tar.add(folder, arcname=os.path.sep))
    assert _extract(tmp_path, data) == {"code/inference.py": b"x", "model.joblib": b"y"}


def _zip(*members: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


class TestZips:
    def _unzipped(self, folder: Path, data: bytes, limits: ArchiveLimits | None = None) -> dict[str, bytes]:
        (folder / "a.zip").write_bytes(data)
        extract(str(folder / "a.zip"), str(folder / "out"), limits, zips=True)
        return {str(p.relative_to(folder / "out")): p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}

    def _refused(self, folder: Path, data: bytes, limits: ArchiveLimits | None = None) -> str:
        with pytest.raises(ArchiveError) as caught:
            self._unzipped(folder, data, limits)
        assert sorted(os.listdir(folder)) == ["a.zip"]
        return str(caught.value)

    def test_files_and_folders(self, tmp_path: Path) -> None:
        assert self._unzipped(tmp_path, _zip(("a/b.py", b"x"), ("c", b""))) == {"a/b.py": b"x", "c": b""}

    def test_only_where_zips_are_expected(self, tmp_path: Path) -> None:
        assert "tar" in _refused(tmp_path, _zip(("a", b"x" * 2000)))

    @pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a\\b"])
    def test_names_that_lead_out(self, tmp_path: Path, name: str) -> None:
        self._refused(tmp_path, _zip((name, b"x")))

    def test_links(self, tmp_path: Path) -> None:
        assert "symbolic link" in self._refused(tmp_path, _zip(("a", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777))

    def test_bombs(self, tmp_path: Path) -> None:
        data = _zip(("bomb", b"\0" * (2 << 20)))
        assert "limit of 1048576 bytes" in self._refused(tmp_path, data, ArchiveLimits(bytes=1 << 20))
        many = _zip(*((str(n), b"") for n in range(20)))
        assert "more than 10 entries" in self._refused(tmp_path, many, ArchiveLimits(entries=10))

    def test_a_size_that_is_a_lie(self, tmp_path: Path) -> None:
        """The directory says one byte; what is written is counted."""
        whole = _zip(("a", b"\0" * 5000))
        lie = whole.replace((5000).to_bytes(4, "little"), (1).to_bytes(4, "little"))
        assert lie != whole
        assert self._refused(tmp_path, lie)

    def test_damage_anywhere(self, tmp_path: Path) -> None:
        whole = _zip(("a", os.urandom(500)), ("b", os.urandom(500)))
        for cut in range(4, len(whole) - 1, 37):
            self._refused(tmp_path, whole[:cut])

    def test_a_file_that_is_a_folder_too(self, tmp_path: Path) -> None:
        assert "both" in self._refused(tmp_path, _zip(("a", b"x"), ("a/b", b"y")))
