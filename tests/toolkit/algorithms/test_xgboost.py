"""The built-in XGBoost as a training job would run it."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from clary.toolkit import recordio

Job = Callable[..., "Result"]
Start = Callable[..., "subprocess.Popen[str]"]
LINE = re.compile(r"^\[(\d+)\]#011(.*)$", re.MULTILINE)


class Result:
    """How a run ended and what it left."""

    def __init__(self, base: Path, code: int, out: str, err: str) -> None:
        self.base, self.code, self.out, self.err = base, code, out, err

    @property
    def failure(self) -> str:
        return (self.base / "output/failure").read_text()

    @property
    def rounds(self) -> list[dict[str, float]]:
        """The metrics of each iteration, as the service's expressions read them off the log."""
        return [
            {name: float(value) for name, value in (pair.rsplit(":", 1) for pair in rest.split("#011"))}
            for _, rest in LINE.findall(self.out)
        ]


def _rows(count: int, seed: int, classes: int = 2) -> list[tuple[float, list[float]]]:
    random = Random(seed)
    rows = []
    for _ in range(count):
        x = [random.gauss(0, 1) for _ in range(4)]
        rows.append((float(min(classes - 1, int(abs(x[0] + x[1]) * classes / 2))), x))
    return rows


def _csv(rows: list[tuple[float, list[float]]], weight: str = "") -> bytes:
    return "".join(f"{y:g}{weight}," + ",".join(f"{v:.6g}" for v in x) + "\n" for y, x in rows).encode()


def _libsvm(rows: list[tuple[float, list[float]]]) -> bytes:
    return "".join(f"{y:g} " + " ".join(f"{i}:{v:.6g}" for i, v in enumerate(x)) + "\n" for y, x in rows).encode()


def _recordio(rows: list[tuple[float, list[float]]]) -> bytes:
    return recordio.write(recordio.build({"values": x}, {"values": [y]}) for y, x in rows)


TRAIN, VALIDATION = _rows(400, 1), _rows(200, 2)


def _layout(
    base: Path, hyperparameters: dict[str, str], channels: dict[str, dict[str, bytes]], kind: str, hosts: int = 1
) -> None:
    for folder in ("input/config", "input/data", "model", "output/data"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for name, files in channels.items():
        for file, content in files.items():
            path = base / "input/data" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    config = {
        "hyperparameters": hyperparameters,
        "inputdataconfig": {
            n: {"TrainingInputMode": "File", **({"ContentType": kind} if kind else {})} for n in channels
        },
        "resourceconfig": {"current_host": "algo-1", "hosts": [f"algo-{n + 1}" for n in range(hosts)]},
    }
    for name, content in config.items():
        (base / f"input/config/{name}.json").write_text(json.dumps(content))


@pytest.fixture
def start(library: str, interpreter: Callable[[str], str]) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(base: Path, runtime: str = "xgboost", **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [interpreter(runtime), "-m", "clary.toolkit.train"],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": library,
                "SAGEMAKER_BASE_DIR": str(base),
                "CLARY_ALGORITHM": "xgboost",
                "CLARY_CPUS": "2",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def job(tmp_path: Path, start: Start) -> Job:
    def run(
        hyperparameters: dict[str, str] | None = None,
        channels: dict[str, dict[str, bytes]] | None = None,
        kind: str = "text/csv",
        **options: Any,
    ) -> Result:
        given = {"num_round": "8", "objective": "binary:logistic", **(hyperparameters or {})}
        data = channels or {"train": {"train.csv": _csv(TRAIN)}, "validation": {"v.csv": _csv(VALIDATION)}}
        _layout(tmp_path, given, data, kind)
        process = start(tmp_path, **options)
        out, err = process.communicate(timeout=60)
        return Result(tmp_path, process.returncode, out, err)

    return run


def test_metrics_are_logged_in_sagemakers_form(job: Job) -> None:
    result = job({"eval_metric": "auc,logloss,accuracy"})
    assert result.code == 0, result.err
    assert len(result.rounds) == 8
    assert list(result.rounds[0]) == [
        f"{data}-{metric}" for data in ("train", "validation") for metric in ("auc", "logloss", "accuracy")
    ]
    assert result.rounds[-1]["validation-auc"] > 0.9
    assert re.search(r".*\[[0-9]+\].*#011validation-auc:(\S+)", result.out)
    assert "Train matrix has 400 rows and 4 columns" in result.out
    assert (result.base / "output/success").exists()


def test_the_model_is_one_that_any_xgboost_loads(job: Job, run: Callable[..., Any]) -> None:
    result = job()
    code = (
        "import xgboost as xgb\nb = xgb.Booster()\n"
        f"b.load_model(bytearray(open({str(result.base / 'model/xgboost-model')!r}, 'rb').read()))\n"
        "answer = [b.num_boosted_rounds(), b.num_features()]"
    )
    assert sorted(os.listdir(result.base / "model")) == ["xgboost-model"]
    assert run("xgboost", code) == [8, 4]


@pytest.mark.parametrize(
    ("extra", "score"),
    [
        ({"base_score": "0.5"}, b"5E-1"),
        ({"base_score": "0.25"}, b"2.5E-1"),
        ({"objective": "multi:softprob", "num_class": "2"}, b"5E-1"),
    ],
)
def test_older_versions_read_the_base_score(
    job: Job, run: Callable[..., Any], extra: dict[str, str], score: bytes
) -> None:
    """They take XGBoost 3.1's list form for 0.5 without a word, so it is not written."""
    result = job(extra)
    path = result.base / "model/xgboost-model"
    assert b"base_scoreSL" + len(score).to_bytes(8, "big") + score + b"L" in path.read_bytes()
    code = (
        "import json, xgboost as xgb\nb = xgb.Booster()\n"
        f"b.load_model(bytearray(open({str(path)!r}, 'rb').read()))\n"
        "answer = json.loads(b.save_config())['learner']['learner_model_param']['base_score']"
    )
    assert run("xgboost", code).strip("[]").split(",")[0] == score.decode()


def test_all_content_types_train_the_same_model(job: Job, run: Callable[..., Any], tmp_path: Path) -> None:
    parquet = tmp_path / "t.parquet"
    columns = {"y": [y for y, _ in TRAIN], **{f"x{i}": [float(f"{x[i]:.6g}") for _, x in TRAIN] for i in range(4)}}
    run(
        "xgboost",
        "import pyarrow as pa, pyarrow.parquet as pq\n"
        f"pq.write_table(pa.table({columns!r}), {str(parquet)!r})\nanswer = 1",
    )
    forms = {
        "text/csv": _csv(TRAIN),
        "csv": _csv(TRAIN),
        "text/csv;label_size=1": _csv(TRAIN),
        "libsvm": _libsvm(TRAIN),
        "text/x-libsvm": _libsvm(TRAIN),
        "": _libsvm(TRAIN),
        "application/x-recordio-protobuf": _recordio([(y, [float(f"{v:.6g}") for v in x]) for y, x in TRAIN]),
        "application/x-parquet": parquet.read_bytes(),
    }
    last = set()
    for kind, data in forms.items():
        result = job({"eval_metric": "logloss"}, {"train": {"part": data}}, kind)
        assert result.code == 0, result.err
        last.add(json.dumps(result.rounds))
    assert len(last) == 1


def test_several_files_and_folders_and_markers(job: Job) -> None:
    files = {"a/1.csv": _csv(TRAIN[:150]), "b/2.csv": _csv(TRAIN[150:]), "_SUCCESS": b"", ".hidden": b"no data"}
    result = job(channels={"train": files})
    assert "Train matrix has 400 rows and 4 columns" in result.out


def test_libsvm_channels_of_different_width(job: Job) -> None:
    narrow = [(y, x[:2]) for y, x in VALIDATION]
    result = job(channels={"train": {"t": _libsvm(TRAIN)}, "validation": {"v": _libsvm(narrow)}}, kind="libsvm")
    assert result.code == 0, result.err


def test_libsvm_files_of_different_width_in_one_channel(job: Job) -> None:
    narrow = [(y, x[:2]) for y, x in VALIDATION]
    result = job(channels={"train": {"a": _libsvm(narrow), "b": _libsvm(TRAIN)}}, kind="libsvm")
    assert result.code == 0, result.err
    assert f"Train matrix has {len(TRAIN) + len(narrow)} rows and 4 columns" in result.out


def _parquet_files(run: Callable[..., Any], folder: Path) -> list[bytes]:
    """The training rows as two parquet files."""
    columns = {"y": [y for y, _ in TRAIN], **{f"x{i}": [x[i] for _, x in TRAIN] for i in range(4)}}
    run(
        "xgboost",
        f"import pyarrow as pa, pyarrow.parquet as pq\ntable = pa.table({columns!r})\n"
        f"for name, part in (('0', table[:150]), ('1', table[150:])): pq.write_table(part, {str(folder)!r} + '/' + name)\n"
        "answer = 1",
    )
    return [(folder / name).read_bytes() for name in "01"]


def test_parquet_in_partition_folders(job: Job, run: Callable[..., Any], tmp_path: Path) -> None:
    """A folder named key=value is not a column: the label stays first and the features stay as they are in the files."""
    one, two = _parquet_files(run, tmp_path)
    result = job(channels={"train": {"day=1/a.parquet": one, "day=2/b.parquet": two}}, kind="application/x-parquet")
    assert "Train matrix has 400 rows and 4 columns" in result.out, result.err


def test_parquet_through_a_pipe(run: Callable[..., Any], tmp_path: Path, start: Start) -> None:
    """Pipe mode joins the objects: whole parquet files one behind the other."""
    one, two = _parquet_files(run, tmp_path)
    _layout(tmp_path, {"num_round": "2"}, {}, "")
    config = {"train": {"TrainingInputMode": "Pipe", "ContentType": "application/x-parquet"}}
    (tmp_path / "input/config/inputdataconfig.json").write_text(json.dumps(config))
    os.mkfifo(tmp_path / "input/data/train_0")
    process = start(tmp_path)
    threading.Thread(target=(tmp_path / "input/data/train_0").write_bytes, args=(one + two,), daemon=True).start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Train matrix has 400 rows and 4 columns" in out


def test_pipe_mode_reads_the_fifo(tmp_path: Path, start: Start) -> None:
    _layout(tmp_path, {"num_round": "2"}, {}, "")
    config = {"train": {"TrainingInputMode": "Pipe", "ContentType": "text/csv"}}
    (tmp_path / "input/config/inputdataconfig.json").write_text(json.dumps(config))
    os.mkfifo(tmp_path / "input/data/train_0")
    process = start(tmp_path)
    (tmp_path / "input/data/train_0").write_bytes(_csv(TRAIN))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Train matrix has 400 rows" in out


def test_early_stopping_keeps_the_best(job: Job, run: Callable[..., Any]) -> None:
    result = job({"num_round": "300", "eval_metric": "logloss", "early_stopping_rounds": "3", "eta": "0.9"})
    assert result.code == 0, result.err
    scores = [r["validation-logloss"] for r in result.rounds]
    best = scores.index(min(scores))
    assert len(scores) == best + 4
    code = (
        "import xgboost as xgb\nb = xgb.Booster()\n"
        f"b.load_model(bytearray(open({str(result.base / 'model/xgboost-model')!r}, 'rb').read()))\n"
        "answer = [b.num_boosted_rounds(), int(b.attributes()['best_iteration'])]"
    )
    assert run("xgboost", code) == [best + 1, best]


def test_early_stopping_on_a_custom_metric_that_grows(job: Job) -> None:
    result = job({"num_round": "200", "eval_metric": "logloss,accuracy", "early_stopping_rounds": "5"})
    scores = [r["validation-accuracy"] for r in result.rounds]
    assert len(scores) - 1 - scores.index(max(scores)) == 5


def test_csv_weights(job: Job) -> None:
    assert job({"csv_weights": "1"}, {"train": {"t": _csv(TRAIN, weight=",0.5")}}).rounds[-1]
    equal = job({"csv_weights": "1", "eval_metric": "error"}, {"train": {"t": _csv(TRAIN, weight=",2")}})
    assert "400 rows and 4 columns" in equal.out


@pytest.mark.parametrize(
    ("objective", "extra"),
    [
        ("multi:softprob", {"num_class": "3"}),
        ("multi:softmax", {"num_class": "3", "eval_metric": "f1,merror"}),
        ("reg:linear", {}),
        ("reg:squarederror", {"booster": "gblinear", "eval_metric": "rmse,r2"}),
        ("reg:squarederror", {"booster": "dart", "rate_drop": "0.1", "early_stopping_rounds": "3"}),
        ("count:poisson", {"max_delta_step": "0.7"}),
        ("reg:absoluteerror", {"tree_method": "approx", "monotone_constraints": "(1,0,0,0)"}),
        (
            "reg:squarederror",
            {"tree_method": "exact", "updater": "grow_colmaker,prune", "interaction_constraints": "[[0,1],[2,3]]"},
        ),
    ],
)
def test_objectives_and_boosters(job: Job, objective: str, extra: dict[str, str]) -> None:
    rows, held = _rows(300, 3, 3), _rows(100, 4, 3)
    channels = {"train": {"t": _csv(rows)}, "validation": {"v": _csv(held)}}
    result = job({"objective": objective, **extra}, channels)
    assert result.code == 0, result.err
    assert result.rounds


def test_ranking_with_query_ids(job: Job) -> None:
    rows = [(y, x, n // 20) for n, (y, x) in enumerate(TRAIN)]
    data = "".join(f"{y:g} qid:{q} " + " ".join(f"{i}:{v:g}" for i, v in enumerate(x)) + "\n" for y, x, q in rows)
    result = job({"objective": "rank:ndcg", "eval_metric": "ndcg@5"}, {"train": {"t": data.encode()}}, "libsvm")
    assert result.code == 0, result.err
    assert "train-ndcg@5" in result.rounds[0]


def test_cross_validation(job: Job) -> None:
    result = job({"_kfold": "3", "_num_cv_round": "2", "eval_metric": "logloss", "num_round": "4"})
    assert result.code == 0, result.err
    assert sorted(os.listdir(result.base / "model")) == [f"xgboost-model-{n}" for n in range(6)]
    lines = (result.base / "output/data/predictions.csv").read_text().splitlines()
    assert len(lines) == 600  # both channels' rows, each predicted out of its fold
    label, mean = map(float, lines[0].split(","))
    assert label in (0, 1)
    assert 0 < mean < 1
    assert len(result.rounds) == 6 * 4 + 1


class TestFailures:
    def test_hyperparameters(self, job: Job) -> None:
        result = job({"eta": "7"})
        assert result.code == 1
        assert result.failure == "Hyperparameter eta: value 7 is not in the range [0, 1]"

    def test_no_train_channel(self, job: Job) -> None:
        assert job(channels={"test": {"t": b"1,2\n"}}).code == 1

    @pytest.mark.parametrize("files", [{"_SUCCESS": b""}, {"t": b""}, {"t": b"\n\n"}])
    def test_no_data(self, job: Job, files: dict[str, bytes]) -> None:
        assert job(channels={"train": files}).failure == "No training data: the channel 'train' is empty."

    def test_csv_taken_for_libsvm(self, job: Job) -> None:
        failure = job(channels={"train": {"t.csv": _csv(TRAIN)}}, kind="").failure
        assert failure.startswith("Blankspace and colon not found in firstline '")
        assert "of file 't.csv'. ContentType by default is in libsvm." in failure

    def test_a_header_line(self, job: Job) -> None:
        failure = job(channels={"train": {"t.csv": b"label,a,b\n1,2,3\n"}}).failure
        assert (
            failure
            == "Failed to load csv data of file 't.csv' with exception: could not convert string to float: 'label'"
        )

    @pytest.mark.parametrize("kind", ["text/csv", ""])
    def test_a_compressed_file(self, job: Job, kind: str) -> None:
        failure = job(channels={"train": {"t.csv.gz": gzip.compress(_csv(TRAIN))}}, kind=kind).failure
        assert failure.startswith("File 't.csv.gz' is compressed by gzip: CompressionType Gzip")

    def test_unknown_content_type(self, job: Job) -> None:
        assert "text/html is not an accepted ContentType" in job(kind="text/html").failure

    def test_labels_that_logistic_regression_cannot_have(self, job: Job) -> None:
        assert "label must be in [0,1]" in job(channels={"train": {"t": b"3,1,2\n0,1,2\n"}}).failure

    def test_labels_beyond_the_classes(self, job: Job) -> None:
        failure = job({"objective": "multi:softmax", "num_class": "2"}, {"train": {"t": b"2,1,2\n0,1,2\n"}}).failure
        assert "label must be in [0, num_class)" in failure

    def test_xgboosts_own_words_without_its_stack(self, job: Job) -> None:
        failure = job({"objective": "reg:gamma"}, {"train": {"t": b"-1,1,2\n0,1,2\n"}}).failure
        assert failure.startswith("XGBoostError: ")
        assert "Stack trace" not in failure


def _until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} never came")


def test_sigterm_saves_the_model_when_asked(tmp_path: Path, start: Start) -> None:
    hyperparameters = {"num_round": "1000000", "max_depth": "2", "save_model_on_termination": "true"}
    _layout(tmp_path, hyperparameters, {"train": {"t": _csv(TRAIN)}}, "text/csv")
    process = start(tmp_path)
    _until(process, "[2]#011")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "model/xgboost-model").stat().st_size > 1000


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, start: Start, run: Callable[..., Any]) -> None:
    _layout(tmp_path, {"num_round": "1000000", "max_depth": "2"}, {"train": {"t": _csv(TRAIN)}}, "text/csv")
    (tmp_path / "checkpoints").mkdir()
    process = start(tmp_path)
    _until(process, "[9]#011")
    process.kill()
    process.communicate()
    kept = sorted(
        int(p.suffix[1:]) for p in (tmp_path / "checkpoints").glob("xgboost-checkpoint.*") if p.suffix != ".part"
    )
    assert 5 <= len(kept) <= 6
    (tmp_path / "input/config/hyperparameters.json").write_text(
        json.dumps({"num_round": str(kept[-1] + 5), "max_depth": "2"})
    )
    process = start(tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert f"Going on from the checkpoint of iteration {kept[-1]}." in out
    code = (
        "import xgboost as xgb\nb = xgb.Booster()\n"
        f"b.load_model(bytearray(open({str(tmp_path / 'model/xgboost-model')!r}, 'rb').read()))\nanswer = b.num_boosted_rounds()"
    )
    assert run("xgboost", code) == kept[-1] + 5


def test_sparse_recordio(job: Job) -> None:
    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    def sized(field: int, body: bytes) -> bytes:
        return bytes([field << 3 | 2]) + varint(len(body)) + body

    def record(y: float, x: list[float]) -> bytes:
        values = array("f", x[:2]).tobytes()
        tensor = sized(1, values) + sized(2, bytes([0, 3])) + sized(3, bytes([6]))
        label = sized(1, struct.pack("<f", y))
        return sized(1, sized(1, b"values") + sized(2, sized(2, tensor))) + sized(
            2, sized(1, b"values") + sized(2, sized(2, label))
        )

    data = b"".join(recordio.frame(record(y, x)) for y, x in TRAIN)
    result = job(channels={"train": {"t": data}}, kind="application/x-recordio-protobuf")
    assert "Train matrix has 400 rows and 6 columns" in result.out, result.err


@pytest.mark.slow
def test_two_hosts_train_one_model(tmp_path: Path, start: Start, interpreter: Callable[[str], str]) -> None:
    """Each host has half of the rows; both see the same metrics, of all rows; the first one writes the model."""
    processes = []
    for number, rows in enumerate((TRAIN[:200], TRAIN[200:])):
        base = tmp_path / f"h{number}"
        _layout(base, {"num_round": "4", "eval_metric": "logloss"}, {"train": {"t": _csv(rows)}}, "text/csv")
        hosts = {"current_host": ("localhost", "127.0.0.1")[number], "hosts": ["localhost", "127.0.0.1"]}
        (base / "input/config/resourceconfig.json").write_text(json.dumps(hosts))
        processes.append(start(base))
    ends = [p.communicate(timeout=40) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], ends
    assert (tmp_path / "h0/model/xgboost-model").exists()
    assert not (tmp_path / "h1/model/xgboost-model").exists()
    assert LINE.search(ends[0][0])
    assert not LINE.search(ends[1][0])
