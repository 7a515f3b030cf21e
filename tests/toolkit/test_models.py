"""A multi-model replica: models come and go one by one, and a bad one ends alone."""

from __future__ import annotations

import io
import os
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import frames
from clary.toolkit.models import private_bytes, spec_of

ECHO = "def model_fn(d):\n    return open(d + '/name').read()\ndef transform_fn(m, data, c, a):\n    return m + ':' + data\n"
GIB = 1 << 30


def tar(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Many:
    """A multi-model replica under test: archives are put where the control plane would put them."""

    def __init__(self, replica: Any, archives: Path, loaded: Path) -> None:
        self.replica, self.front = replica, replica.front
        self.archives, self.loaded = archives, loaded
        self.front.event("READY")

    def put(self, name: str, data: bytes) -> dict[str, Any]:
        (self.archives / name).mkdir()
        (self.archives / name / "model.tar.gz").write_bytes(data)
        return {"model": name, "digest": name, "size": len(data), "copies": 1}

    def say(self, kind: int, **message: Any) -> None:
        self.front.zygote.send(frames.control(kind, message))

    def load(self, name: str, code: str = ECHO, **files: str) -> None:
        self.say(frames.LOAD, **self.put(name, tar({"code/inference.py": code, "name": name, **files})))

    def of(self, name: str, count: int = 1) -> list[int]:
        """pids of the processes that serve a model, as soon as there are so many."""
        hellos = self.front.hellos
        self.front.wait_for(
            lambda: sum(h.get("model") == name and p in self.front.workers for p, h in hellos.items()) >= count
        )
        return [pid for pid, hello in hellos.items() if hello.get("model") == name]

    def predict(self, name: str) -> tuple[int, bytes]:
        channel = self.front.workers[self.of(name)[-1]]
        status, body, _ = self.front.predict(channel, [b"x"])[0]
        return status, body

    def refused(self, name: str) -> dict[str, Any]:
        said = lambda: [m for k, m in self.front.events if k == "NOT_LOADED" and m["model"] == name]  # noqa: E731
        self.front.wait_for(said)
        return said()[-1]

    def exited(self, pid: int) -> int:
        said = lambda: [m for k, m in self.front.events if k == "EXITED" and m["pid"] == pid]  # noqa: E731
        self.front.wait_for(said)
        return int(said()[-1]["status"])


@pytest.fixture
def many(replica: Callable[..., Any], tmp_path: Path) -> Callable[..., Many]:
    def start(memory: int = 4 * GIB, runtime: str = "python", **spec: Any) -> Many:
        archives, loaded = tmp_path / "archives", tmp_path / "loaded"
        archives.mkdir()
        loaded.mkdir()
        multi = {"archives": str(archives), "folder": str(loaded), "memory": memory, **spec.pop("more", {})}
        return Many(replica(runtime, multi=multi, **spec), archives, loaded)

    return start


class TestModels:
    def test_a_replica_is_ready_without_a_model_and_each_gets_a_process(self, many: Callable[..., Many]) -> None:
        r = many()
        assert r.front.event("READY")["mode"] == "multi-model"
        assert not r.front.workers
        r.load("a")
        r.load("b")
        assert r.predict("a") == (200, b"a:x")
        assert r.predict("b") == (200, b"b:x")
        assert r.of("a") != r.of("b")
        hello = r.front.hellos[r.of("a")[0]]
        assert hello["batch"] == 1
        assert hello["held"] > 100_000
        assert r.replica.end() == 0

    def test_load_said_twice_is_done_once_and_copies_may_be_several(self, many: Callable[..., Many]) -> None:
        r = many()
        r.load("a")
        r.of("a")
        again = {"model": "a", "digest": "a", "size": 1}
        r.say(frames.LOAD, **again, copies=1)
        r.say(frames.LOAD, **again, copies=2)
        r.of("a", 2)
        r.load("b")  # whatever was asked before is done when this one is there
        r.of("b")
        assert len(r.of("a")) == 2

    def test_the_containers_own_code_serves_every_model(
        self, many: Callable[..., Many], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = "def model_fn(d):\n    return open(d + '/name').read()\ndef transform_fn(m, data, c, a):\n    return 'own ' + m\n"
        r = many(**{k: v for k, v in script(code).items() if k != "model_dir"})
        r.load("a")  # its archive carries code too
        assert r.predict("a") == (200, b"own a")

    def test_unload_ends_the_process_and_removes_its_files(self, many: Callable[..., Many]) -> None:
        r = many()
        r.load("a")
        (pid,) = r.of("a")
        assert (r.loaded / "a" / "model" / "name").exists()
        r.say(frames.UNLOAD, pid=pid)
        assert r.exited(pid) == 0
        assert not (r.loaded / "a").exists()
        r.say(frames.LOAD, model="a", digest="a", size=1, copies=1)
        r.front.wait_for(lambda: len(r.of("a")) == 2)  # the ended one and its successor
        assert r.predict("a") == (200, b"a:x")

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("raise ValueError('no weights')\n", "ValueError: no weights"),
            ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "was ended by SIGSEGV"),
            ("import os\nos._exit(0)\n", "ended with exit code 0"),
            ("import sys\nsys.exit(3)\n", "called sys.exit(3)"),
        ],
    )
    def test_a_model_that_breaks_while_it_is_loaded_ends_alone(
        self, many: Callable[..., Many], code: str, words: str
    ) -> None:
        r = many()
        r.load("good")
        r.of("good")
        r.load("bad", code)
        refused = r.refused("bad")
        assert refused["status"] == 500
        assert words in refused["message"]
        assert r.predict("good") == (200, b"good:x")
        assert sum(m["model"] == "bad" for k, m in r.front.events if k == "NOT_LOADED") == 1

    def test_an_archive_that_is_none_is_named(self, many: Callable[..., Many]) -> None:
        r = many()
        r.say(frames.LOAD, **r.put("a", b"not a tar at all" * 100))
        assert r.refused("a")["message"] == "Cannot extract a: the archive is not a tar."

    def test_a_load_without_end_is_given_up(self, many: Callable[..., Many]) -> None:
        r = many(more={"load_seconds": 0.5})
        r.load("slow", "import time\ntime.sleep(600)\n")
        refused = r.refused("slow")
        assert refused["status"] == 504
        assert refused["message"] == "It was not loaded within 0.5 s."
        r.load("quick")
        assert r.predict("quick") == (200, b"quick:x")

    def test_without_room_it_says_how_much_is_too_much(self, many: Callable[..., Many]) -> None:
        r = many(memory=150 << 20)
        big = "held = bytearray(70 << 20)\n" + ECHO
        r.load("a", big)
        r.of("a")
        r.load("b", big)
        refused = r.refused("b")
        assert refused["status"] == 507
        assert 0 < refused["over"] < 150 << 20
        (pid,) = r.of("a")
        r.say(frames.UNLOAD, pid=pid)
        r.exited(pid)
        r.say(frames.LOAD, model="b", digest="b", size=1, copies=1)
        assert r.predict("b") == (200, b"b:x")

    def test_a_model_that_is_larger_than_the_replica_is_ended_before_the_replica_is(
        self, many: Callable[..., Many]
    ) -> None:
        r = many(memory=200 << 20)
        r.load("good")
        r.of("good")
        r.load(
            "huge", "import time\nheld = []\nwhile True:\n    held.append(bytearray(4 << 20))\n    time.sleep(0.01)\n"
        )
        refused = r.refused("huge")
        assert refused["status"] == 507
        assert refused["over"] == 0
        assert refused["message"].startswith("It needs more memory than")
        assert r.predict("good") == (200, b"good:x")

    def test_a_replica_that_was_resized_has_other_room(self, many: Callable[..., Many], tmp_path: Path) -> None:
        r = many(memory=150 << 20, more={"resized": str(tmp_path / "memory")})
        big = "held = bytearray(60 << 20)\n" + ECHO
        r.load("a", big)
        r.of("a")
        r.load("b", big)
        assert r.refused("b")["status"] == 507
        (tmp_path / "memory").write_text(str(GIB))
        r.say(frames.LOAD, model="b", digest="b", size=1, copies=1)
        assert r.predict("b") == (200, b"b:x")

    def test_a_model_that_grows_is_told_of(self, many: Callable[..., Many]) -> None:
        r = many(memory=200 << 20)
        grow = (
            "held = []\ndef model_fn(d): return 1\n"
            "def transform_fn(m, data, c, a):\n    held.append(bytearray(170 << 20))\n    return 'x'\n"
        )
        r.load("a", grow)
        r.predict("a")
        assert r.front.event("FULL")["over"] > 0

    def test_a_killed_process_is_told_of_and_not_started_again_by_itself(self, many: Callable[..., Many]) -> None:
        r = many()
        r.load("a")
        (pid,) = r.of("a")
        os.kill(pid, signal.SIGKILL)
        assert r.exited(pid) == -signal.SIGKILL
        r.load("b")
        assert r.predict("b") == (200, b"b:x")
        assert r.replica.output.count("Model a loaded") == 1

    def test_after_the_front_died_its_models_dial_the_next_one(self, many: Callable[..., Many]) -> None:
        r = many()
        r.load("a")
        (pid,) = r.of("a")
        r.front.die()
        r.front.listen()
        r.front.wait_for(lambda: pid in r.front.workers)
        assert r.predict("a") == (200, b"a:x")

    def test_drain_ends_what_is_still_being_loaded(self, many: Callable[..., Many]) -> None:
        r = many()
        r.load("slow", "import time\ntime.sleep(600)\n")
        r.load("a")
        (pid,) = r.of("a")
        r.front.workers[pid].send(frames.control(frames.DRAIN))
        r.say(frames.DRAIN)
        assert r.replica.process.wait(30) == 0

    def test_the_built_in_xgboost_batches(self, many: Callable[..., Many], xgboost_model: Callable[..., str]) -> None:
        r = many(runtime="xgboost", algorithm="xgboost")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(os.path.join(xgboost_model(), "xgboost-model"), "xgboost-model")
        began = time.monotonic()
        r.say(frames.LOAD, **r.put("m", buffer.getvalue()))
        (pid,) = r.of("m")
        print("cold", time.monotonic() - began)
        assert r.front.hellos[pid]["batch"] == 64
        answers = r.front.predict(r.front.workers[pid], [b"0.5,0.25,-1,2", b"1,2,3,4"])
        assert [status for status, _, _ in answers] == [200, 200]


class TestSpec:
    def test_code_in_the_archive_counts_where_the_container_has_none(self, tmp_path: Path) -> None:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "inference.py").write_text("")
        plain = {"program": "", "code_dir": "", "model_dir": "x"}
        assert spec_of(plain, str(tmp_path)) == {
            "program": "inference.py",
            "code_dir": str(tmp_path / "code"),
            "model_dir": str(tmp_path),
        }
        own = {"program": "serve.py", "code_dir": "/opt/ml/code", "model_dir": "x"}
        assert spec_of(own, str(tmp_path)) == {**own, "model_dir": str(tmp_path)}
        (tmp_path / "code" / "inference.py").unlink()
        assert spec_of(plain, str(tmp_path))["program"] == ""

    def test_memory_of_a_process_that_is_gone_is_none(self) -> None:
        assert private_bytes(os.getpid()) > 0
        assert private_bytes(2**30) == 0
