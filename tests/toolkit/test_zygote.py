"""A replica's life: load, fork, predict, die, come back; and every case of "OpenMP and fork" (design.md 5)."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clary.toolkit import frames

ROW = b"0.5,0.25,-1,2"


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _eventually(condition: Callable[[], bool]) -> None:
    """The kernel tells nobody when a child was reaped: look until it was."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestReplica:
    def test_predicts_as_the_library_does(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str], run: Callable[..., Any]
    ) -> None:
        model = xgboost_model()
        r = replica("xgboost", algorithm="xgboost", model_dir=model, workers=2)
        ready = r.front.ready(2)
        assert ready["mode"] == "fork"
        assert ready["batch"] == 64
        expected = run(
            "xgboost",
            "import xgboost as xgb, numpy as np\n"
            f"b = xgb.Booster(); b.load_model(bytearray(open({model + '/xgboost-model'!r}, 'rb').read()))\n"
            "answer = b.predict(xgb.DMatrix(np.array([[0.5, 0.25, -1, 2]]))).tolist()[0]",
        )
        for channel in r.front.workers.values():
            assert r.front.predict(channel, [ROW]) == [(200, f"{expected}\n".encode(), "text/csv; charset=utf-8")]
        assert r.end() == 0

    def test_a_front_that_can_never_be_dialled_ends_it_with_the_reason(self, replica: Callable[..., Any]) -> None:
        r = replica("xgboost", algorithm="xgboost", fronts=["quic:host:1"])
        assert r.process.wait(30) != 0
        assert "'quic:host:1' of a front cannot be dialled: it must begin with one of unix:" in r.output

    def test_a_broken_model_fails_with_its_reason(self, replica: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "xgboost-model").write_bytes(b"{this is no model")
        r = replica("xgboost", algorithm="xgboost", model_dir=str(tmp_path))
        failed = r.front.event("FAILED")
        assert failed["kind"] == "load"
        assert failed["message"].startswith("Failed to load model xgboost-model:")
        assert r.process.wait(30) == 1

    def test_user_code_that_raises_fails_with_its_own_traceback(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        r = replica(
            "python", **script("def model_fn(model_dir):\n    raise ValueError('no weights in ' + model_dir[:0])\n")
        )
        message = r.front.event("FAILED")["message"]
        assert message.rstrip().endswith("ValueError: no weights in")
        assert "inference.py" in message
        assert "toolkit" not in message
        assert r.process.wait(30) == 1

    def test_a_script_that_cannot_be_imported(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        r = replica("python", **script("import a_module_that_is_nowhere\n"))
        message = r.front.event("FAILED")["message"]
        assert message.startswith("Traceback (most recent call last):\n  File ")
        assert "importlib" not in message
        assert message.rstrip().endswith("No module named 'a_module_that_is_nowhere'")

    def test_where_there_is_no_instance_type_a_killed_worker_is_told_what_has_more_memory(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        remedy = "a variant with a larger MemorySizeInMB"
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model(), remedy=remedy)
        r.front.ready()
        (first,) = r.front.workers
        os.kill(first, signal.SIGKILL)
        r.front.event("EXITED")
        assert f"was ended by SIGKILL (out of memory, unless somebody sent it: {remedy} has more)" in r.output

    def test_a_killed_worker_is_replaced_and_told_of(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model())
        r.front.ready()
        (first,) = r.front.workers
        os.kill(first, signal.SIGKILL)
        assert r.front.event("EXITED") == {"pid": first, "status": -signal.SIGKILL}
        assert f"A worker (pid {first}) was ended by SIGKILL (out of memory, unless" in r.output
        r.front.wait_for(lambda: len(r.front.workers) == 2)
        second = next(pid for pid in r.front.workers if pid != first)
        assert r.front.predict(r.front.workers[second], [ROW])[0][0] == 200

    def test_kill_frame_ends_a_hanging_worker(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = "import time\ndef model_fn(d): return 1\ndef transform_fn(m, data, c, a):\n    time.sleep(600)\n"
        r = replica("python", **script(code))
        r.front.ready()
        (pid, channel), *_ = r.front.workers.items()
        meta = frames.request_meta("text/csv", "")
        channel.send(b"".join(frames.predict([(1, meta, b"x")])))
        r.front.zygote.send(frames.control(frames.KILL, {"pid": 999_999}))  # unknown: ignored
        r.front.zygote.send(frames.control(frames.KILL, {"pid": pid}))
        assert r.front.event("EXITED")["pid"] == pid
        r.front.wait_for(lambda: len(r.front.workers) == 2)
        assert f"A worker (pid {pid}) was killed: its prediction did not end within its deadline." in r.output
        (last,) = set(r.front.workers) - {pid}
        r.front.zygote.send(frames.control(frames.KILL, {"pid": last, "why": "nobody waits"}))
        r.front.wait_for(lambda: len(r.front.workers) == 3)
        assert f"A worker (pid {last}) was killed: nobody waits." in r.output

    def test_an_error_is_logged_from_the_users_first_frame_on(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        r = replica(
            "python",
            **script("def model_fn(d): return 1\ndef transform_fn(m, data, c, a):\n    raise KeyError('price')\n"),
        )
        r.front.ready()
        assert r.front.predict(r.front.any_worker(), [b"x"])[0][0] == 500
        log = r.output
        assert "KeyError: 'price'" in log
        assert "toolkit" not in log

    def test_spawn_frame_raises_the_number_of_workers(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model())
        r.front.ready()
        r.front.zygote.send(frames.control(frames.SPAWN, {"workers": 4}))
        r.front.wait_for(lambda: len(r.front.workers) == 4)

    def test_drained_worker_is_not_respawned_beyond_the_wish(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model(), workers=2)
        r.front.ready(2)
        r.front.zygote.send(frames.control(frames.SPAWN, {"workers": 1}))
        channel = r.front.any_worker()
        channel.send(frames.control(frames.DRAIN))
        channel.sock.settimeout(30)
        assert channel.sock.recv(1) == b""
        _eventually(lambda: len(_children(r.process.pid)) == 1)
        r.front.zygote.send(frames.control(frames.PING))
        r.front.event("PONG")
        assert len(_children(r.process.pid)) == 1
        assert not any(name == "EXITED" for name, _ in r.front.events)

    def test_a_front_that_comes_back_is_dialled_again(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model())
        r.front.ready()
        (pid,) = r.front.workers
        r.front.die()
        r.front.events.clear()
        r.front.listen()
        assert r.front.ready()["mode"] == "fork"
        assert list(r.front.workers) == [pid]  # an idle worker lives on
        assert r.front.predict(r.front.any_worker(), [ROW])[0][0] == 200

    def test_a_busy_worker_dies_with_its_front(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]], tmp_path: Path
    ) -> None:
        begun = tmp_path / "begun"
        code = (
            "import os, time\ndef model_fn(d): return 1\n"
            f"def transform_fn(m, data, c, a):\n    os.mkfifo({str(begun)!r} + '.x')\n    open({str(begun)!r}, 'w').close()\n"
            "    time.sleep(600)\n"
        )
        os.mkfifo(begun)
        r = replica("python", **script(code))
        r.front.ready()
        (pid, channel), *_ = r.front.workers.items()
        channel.send(b"".join(frames.predict([(1, frames.request_meta("text/csv", ""), b"x")])))
        begun.open().close()  # waits until the prediction runs
        r.front.die()
        r.front.events.clear()
        r.front.listen()
        r.front.ready()
        assert pid not in r.front.workers
        assert pid not in _children(r.process.pid)

    def test_term_lets_a_prediction_finish(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]], tmp_path: Path
    ) -> None:
        begun, go = tmp_path / "begun", tmp_path / "go"
        os.mkfifo(begun)
        os.mkfifo(go)
        code = (
            "def model_fn(d): return 1\ndef transform_fn(m, data, c, a):\n"
            f"    open({str(begun)!r}, 'w').close()\n    open({str(go)!r}).close()\n    return 'done'\n"
        )
        r = replica("python", **script(code))
        r.front.ready()
        channel = r.front.any_worker()
        channel.send(b"".join(frames.predict([(1, frames.request_meta("text/csv", ""), b"x")])))
        begun.open().close()
        r.process.send_signal(signal.SIGTERM)
        go.open("w").close()
        _, count, payload = channel.read()
        assert frames.answers(payload, count)[0][3] == b"done"
        assert r.process.wait(30) == 0

    def test_term_does_not_wait_for_fronts_that_never_answer(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]], tmp_path: Path
    ) -> None:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]  # five seconds each would be more than is waited for
        for number, listener in enumerate(silent):
            listener.bind(str(tmp_path / f"{number}.sock"))
            listener.listen()
        fronts = [f"unix:{listener.getsockname()}" for listener in silent]
        r = replica("python", **script("def model_fn(d): return 1\n"), fronts=fronts)
        _eventually(lambda: "Model loaded" in r.output)
        r.process.send_signal(signal.SIGTERM)
        assert r.process.wait(15) == 0
        for listener in silent:
            listener.close()

    def test_a_model_that_yields_is_heard_piece_by_piece_even_while_it_is_told_to_end(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]], tmp_path: Path
    ) -> None:
        go = tmp_path / "go"
        os.mkfifo(go)
        code = (
            "def model_fn(d): return 1\ndef input_fn(data, content_type): return data\ndef predict_fn(data, model):\n"
            f"    yield 'first'\n    open({str(go)!r}).close()\n    yield 'second'\n"
        )
        r = replica("python", **script(code))
        r.front.ready()
        channel = r.front.any_worker()
        channel.sock.settimeout(30)
        meta = frames.request_meta("application/octet-stream", "")
        for turn in (1, 2):  # the worker is free again after a stream
            channel.send(b"".join(frames.predict([(1, meta, b"x")], frames.STREAM)))
            assert channel.read()[0] == frames.BEGUN
            assert frames.piece(channel.read()[2]) == (1, frames.MORE, b"first")  # and the second is not made yet
            if turn == 2:
                r.process.send_signal(signal.SIGTERM)
            go.open("w").close()
            assert frames.piece(channel.read()[2]) == (1, frames.MORE, b"second")
            assert frames.piece(channel.read()[2]) == (1, frames.LAST, b"")
        assert r.process.wait(30) == 0

    def test_workers_die_with_their_zygote(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model())
        r.front.ready()
        channel = r.front.any_worker()
        channel.sock.settimeout(30)
        r.process.kill()
        try:
            assert channel.sock.recv(1) == b""
        except ConnectionResetError:
            pass  # it died before it had read the welcome

    def test_answers_that_are_too_long_are_not_sent_and_large_ones_come_behind_the_small(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = (
            "def model_fn(d): return 1\n"
            "def transform_fn(m, data, c, a):\n"
            "    if data[:1] == b'-': raise ValueError('x' * int(data[1:]))\n"
            "    return bytes(int(data)), 'application/octet-stream'\n"
        )
        r = replica("python", **script(code), welcome={"most": 300_000, "setting": "max_answer"})
        r.front.ready()
        channel = r.front.any_worker()
        bodies = [b"300000", b"3", b"300001", b"65536", b"-500000", b"200000"]
        channel.send(b"".join(frames.predict((n, frames.request_meta("", ""), body) for n, body in enumerate(bodies))))
        channel.sock.settimeout(60)
        found: list[frames.Answer] = []
        while len(found) < len(bodies):
            kind, count, payload = channel.read()
            assert kind == frames.RESULT
            found += frames.answers(payload, count)
        assert [number for number, *_ in found] == [1, 2, 3, 4, 0, 5]
        told = {number: (status, len(body)) for number, status, _, body in found}
        assert {n: told[n] for n in (0, 1, 3, 4, 5)} == {
            0: (200, 300_000),
            1: (200, 3),
            3: (200, 65_536),
            4: (500, frames.MAX_ERROR),
            5: (200, 200_000),
        }
        [(status, text)] = [(status, body.decode()) for number, status, _, body in found if number == 2]
        assert status == 413
        assert text.startswith("The model's answer has 300001 bytes; the limit is 300000 (setting max_answer).")

    def test_a_large_answer_that_is_wanted_in_pieces_comes_in_pieces(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        """Whatever an answer may have that is wanted whole."""
        code = "def model_fn(d): return 1\ndef transform_fn(m, data, c, a): return bytes(int(data))\n"
        r = replica("python", **script(code), welcome={"most": 300_000, "setting": "max_answer"})
        r.front.ready()
        channel = r.front.any_worker()
        channel.send(b"".join(frames.predict([(1, frames.request_meta("", ""), b"3000000")], frames.STREAM)))
        channel.sock.settimeout(60)
        assert channel.read()[0] == frames.BEGUN
        pieces: list[bytes] = []
        how = frames.MORE
        while how == frames.MORE:
            _number, how, data = frames.piece(channel.read()[2])
            pieces.append(data)
        assert (how, sum(map(len, pieces)), max(map(len, pieces))) == (frames.LAST, 3_000_000, frames.CUT)

    def test_a_worker_that_dies_of_a_request_is_replaced_at_once(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = "import os\ndef model_fn(d): return 1\ndef transform_fn(m, data, c, a): os._exit(7)\n"
        r = replica("python", **script(code))
        r.front.ready()
        seen: set[int] = set()
        began = time.monotonic()
        for _ in range(9):
            r.front.wait_for(lambda: set(r.front.workers) - seen)
            pid = (set(r.front.workers) - seen).pop()
            seen.add(pid)
            r.front.workers[pid].send(b"".join(frames.predict([(1, frames.request_meta("", ""), b"x")])))
        r.front.wait_for(lambda: sum(name == "EXITED" for name, _ in r.front.events) == 9)
        assert r.front.event("EXITED")["status"] == 7
        assert time.monotonic() - began < 15, "doubling from 0.1 s the pauses alone were 20 s"

    def test_an_idle_replica_fits_in_its_memory(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model(), workers=2)
        r.front.ready(2)
        for channel in r.front.workers.values():
            r.front.predict(channel, [ROW] * 8)
        total = 0
        for pid in (r.process.pid, *_children(r.process.pid)):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                total += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
        assert total < 100 << 20


class TestOpenMPAndFork:
    """A zygote that started OpenMP threads hangs its children: each way into that must end in a replica that serves."""

    def test_load_with_threads_of_the_library(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str], script: Callable[[str], dict[str, Any]]
    ) -> None:
        """The model's code raises the threads and predicts while it is loaded: they are seen, and every worker loads for itself."""
        code = (
            "import numpy as np, threadpoolctl, xgboost as xgb\n"
            "def model_fn(model_dir):\n"
            "    threadpoolctl.threadpool_limits(2)\n"
            "    b = xgb.Booster({'nthread': 2})\n"
            f"    b.load_model(bytearray(open({xgboost_model() + '/xgboost-model'!r}, 'rb').read()))\n"
            "    b.set_param({'nthread': 2})\n"
            "    b.predict(xgb.DMatrix(np.zeros((5000, 4), 'f4'), nthread=2))\n"
            "    return b\n"
        )
        r = replica("xgboost", **script(code), workers=2)
        ready = r.front.ready(2)
        assert ready["mode"] == "per-worker"
        assert "every worker loads it for itself" in r.output
        for channel in r.front.workers.values():
            assert r.front.predict(channel, [ROW])[0][0] == 200

    def test_a_prediction_in_the_zygote(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str], script: Callable[[str], dict[str, Any]]
    ) -> None:
        """With the one thread that the zygote has, predicting while loading does no harm: workers are forked."""
        code = (
            "import numpy as np, xgboost as xgb\n"
            "def model_fn(model_dir):\n"
            "    b = xgb.Booster()\n"
            f"    b.load_model(bytearray(open({xgboost_model() + '/xgboost-model'!r}, 'rb').read()))\n"
            "    b.predict(xgb.DMatrix(np.zeros((5000, 4), 'f4')))\n"
            "    return b\n"
        )
        r = replica("xgboost", **script(code))
        assert r.front.ready()["mode"] == "fork"
        assert r.front.predict(r.front.any_worker(), [ROW, ROW])[1][0] == 200

    def test_histogram_boosting_of_scikit_learn(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = (
            "import numpy as np\nfrom sklearn.ensemble import HistGradientBoostingClassifier\n"
            "def model_fn(model_dir):\n"
            "    x = np.random.default_rng(0).normal(size=(500, 4)); y = (x[:, 0] > 0).astype(int)\n"
            "    return HistGradientBoostingClassifier(max_iter=5).fit(x, y)\n"
        )
        r = replica("sklearn", **script(code), workers=2)
        r.front.ready(2)
        for channel in r.front.workers.values():
            answers = r.front.predict(channel, [ROW, b"-0.5,0.25,-1,2"], accept="application/json")
            assert [body for _, body, _ in answers] == [b"[1]", b"[0]"]

    def test_a_python_thread_of_user_code(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = (
            "import threading\n"
            "def model_fn(d):\n    threading.Thread(target=threading.Event().wait, daemon=True).start()\n    return 2\n"
            "def transform_fn(m, data, c, a): return data * m\n"
        )
        r = replica("python", **script(code))
        assert r.front.ready()["mode"] == "per-worker"
        assert r.front.predict(r.front.any_worker(), [b"ab"])[0][1] == b"abab"

    def test_a_load_that_fails_per_worker_fails_the_replica(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = (
            "import os, threading\n"
            "def model_fn(d):\n    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
            "    if os.environ.get('CLARY_LOAD_PER_WORKER'): raise OSError('the second time it breaks')\n    return 2\n"
            "def transform_fn(m, data, c, a): return data\n"
        )
        r = replica("python", **script(code))
        assert "OSError: the second time it breaks" in r.front.event("FAILED")["message"]
        assert r.process.wait(30) == 1

    def test_a_copy_that_hangs_is_found_by_the_probe(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        """Threads are gone again, but a lock is held for ever in every copy: only the probe can tell."""
        code = (
            "import os, threading\n"
            "def model_fn(d):\n"
            "    os.register_at_fork(after_in_child=lambda: threading.Event().wait())\n    return 2\n"
            "def transform_fn(m, data, c, a): return data\n"
        )
        r = replica("python", **script(code))
        assert r.front.ready()["mode"] == "per-worker"
        assert "did not answer within 2 s" in r.output

    def test_threads_set_in_workers_take_effect(
        self, replica: Callable[..., Any], script: Callable[[str], dict[str, Any]]
    ) -> None:
        code = (
            "import json, os, numpy as np, threadpoolctl, xgboost as xgb\n"
            "def model_fn(d):\n"
            "    x = np.random.default_rng(0).normal(size=(50, 4)).astype('f4')\n"
            "    return xgb.train({'nthread': 1}, xgb.DMatrix(x, x[:, 0]), 2)\n"
            "def transform_fn(m, data, c, a):\n"
            "    m.predict(xgb.DMatrix(np.zeros((20000, 4), 'f4')))\n"
            "    pools = {p['user_api']: p['num_threads'] for p in threadpoolctl.threadpool_info()}\n"
            "    nthread = json.loads(m.save_config())['learner']['generic_param']['nthread']\n"
            "    return json.dumps([pools, nthread, len(os.listdir('/proc/self/task'))])\n"
        )
        r = replica("xgboost", **script(code), threads=1)
        assert r.front.ready()["mode"] == "fork"
        channel = r.front.any_worker()
        pools, nthread, tasks = json.loads(r.front.predict(channel, [b"x"])[0][1])
        assert (set(pools.values()), int(nthread), tasks) == ({1}, 1, 1)
        channel.send(frames.control(frames.RESIZE, {"threads": 2}))
        pools, nthread, tasks = json.loads(r.front.predict(channel, [b"x"])[0][1])
        assert pools["openmp"] == 2
        assert int(nthread) == 2
        assert tasks >= 2

    def test_threads_of_the_welcome_reach_later_forks(
        self, replica: Callable[..., Any], xgboost_model: Callable[..., str]
    ) -> None:
        r = replica("xgboost", algorithm="xgboost", model_dir=xgboost_model())
        r.front.ready()
        r.front.zygote.send(frames.control(frames.RESIZE, {"threads": 2}))
        r.front.zygote.send(frames.control(frames.SPAWN, {"workers": 2}))
        r.front.wait_for(lambda: len(r.front.workers) == 2)
        newest = list(r.front.workers.values())[-1]
        assert r.front.predict(newest, [b"\n".join([ROW] * 5000)])[0][0] == 200
        assert len(os.listdir(f"/proc/{list(r.front.workers)[-1]}/task")) >= 2
