"""Text into matrices, in the XGBoost runtime (numpy is not among Clary's own dependencies)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]

PRELUDE = """
import numpy as np
from clary.toolkit import tables, recordio
def said(function, *arguments):
    try:
        return function(*arguments).tolist()
    except tables.ParseError as error:
        return str(error)
"""


def test_csv(run: Run) -> None:
    code = """
cases = [b"1,2\\n3,4\\n", b"1,2\\r\\n3,4\\r\\n", b"1;2\\n3;4", b"1\\t2\\n3\\t4", b"1 2\\n3  4", b"5", b"1|2", b'"1","2"',
         b"1e3,-2.5E-2\\n inf , 7", b"1,2\\n\\n3,4", b"\\n\\n1,2"]
answer = [said(tables.csv, c) for c in cases]
answer.append(str(tables.csv(b"1,,3\\n,5,\\n").tolist()))
answer.append(str(tables.csv(b"1,2", np.float64).dtype))
"""
    answer = run("xgboost", PRELUDE + code)
    square = [[1, 2], [3, 4]]
    assert answer[:5] == [square] * 5
    assert answer[5:8] == [[[5]], [[1, 2]], [[1, 2]]]
    assert [round(v, 4) for v in answer[8][0]] == [1000, -0.025]
    assert answer[9:11] == [square, [[1, 2]]]
    assert answer[11] == "[[1.0, nan, 3.0], [nan, 5.0, nan]]"
    assert answer[12] == "float64"


def test_csv_that_is_none(run: Run) -> None:
    code = """
answer = [said(tables.csv, c) for c in (b"", b"  \\n", b"a,b\\n1,2", b"1,2\\n3", b"1,x", b"1,2\\n3,4,5", b"\\xff\\xfe,1", b"1,2;3")]
"""
    answer = run("xgboost", PRELUDE + code)
    assert answer[0] == answer[1] == "no data"
    assert answer[2] == "could not convert string to float: 'a'"
    assert answer[3] == "row 2 has 1 columns, the first has 2"
    assert all(isinstance(text, str) for text in answer)


def test_a_batch_is_parsed_as_its_parts_are(run: Run) -> None:
    code = """
bodies = [b"1,2,3", b"4,5,6\\n", b" 7,8,9", b"-1e-3,nan,2"]
alone = np.vstack([tables.csv(b) for b in bodies])
answer = [bool(np.array_equal(tables.csv_batch(bodies), alone, equal_nan=True))]
answer += [tables.csv_batch(b) is None for b in ([b"1,2", b"3"], [b"1,2\\n3,4", b"5,6"], [b"1,x", b"2,3"], [b"1,,", b"2,3,4"], [b"", b""])]
"""
    assert run("xgboost", PRELUDE + code) == [True] * 6


def test_values_without_numpy_are_those_of_the_batch(run: Run) -> None:
    code = """
good = [[b"1,2,3"], [b"4,5,6\\n"], [b"\\r\\n 7,8, 9e-1\\r\\n"], [b"1,2,3", b"-4,5.25,6\\n"], [b"0,-0.0,123456789012345678901"]]
answer = [tables.csv_values(b, 3).tolist() == tables.csv_batch(b).ravel().tolist() for b in good]
bad = [[b"1,2"], [b"1,2\\n,3"], [b"1,2\\r,3"], [b"1,2,3\\n4,5,6"], [b"1,,3"], [b"1,nan,3"], [b"1,true,3"], [b'1,"2",3'], [b"1;2;3"], [b""],
       [b"1,2,3", b"1,2"], [b"1,2,[3", b"4],5,6"]]
answer.append([b for b in bad if tables.csv_values(b, 3) is not None])
answer.append([tables.csv_values(b, 1) is None for b in ([b""], [b"1 2"], [b"", b"1"], [b"1\\n2"])])
kept, tables.orjson = tables.orjson, None
answer.append(tables.csv_values([b"1,2,3"], 3))
"""
    answer = run("xgboost", PRELUDE + code)
    assert answer == [True] * 5 + [[], [True] * 4, None]


def test_both_parsers_read_the_same_numbers(run: Run) -> None:
    code = """
import random, struct
assert tables.orjson is not None
source = random.Random(5)
bits = [struct.unpack("<f", struct.pack("<I", source.getrandbits(32)))[0] for _ in range(300)]
texts = [repr(v) for v in bits] + ["{:.7g}".format(source.gauss(0, 10)) for _ in range(300)]
texts += ["123456789012345678901", "-0.0", "7e-46", "3.5e38"]
odd = ["true,1", "null,1", "false,2", '"1",2', "[1],2", "1,[2", "3],1", "{},1", "1e400,2", "+1,.5", "01,1.", "nan,inf", "0x10,1"]
odd += ["1 2,3", " 1 ,\\t2", ",1", "1,"]
def both(bodies):
    found = tables.csv_batch(bodies)
    kept, tables.orjson = tables.orjson, None
    plain = tables.csv_batch(bodies)
    tables.orjson = kept
    return (found is None and plain is None) or bool(np.array_equal(found, plain, equal_nan=True))
answer = [both([t.encode() for t in texts]), [body for body in odd if not both([body.encode(), b"1,2"])], both([b"1,[2", b"3],4"])]
"""
    assert run("xgboost", PRELUDE + code) == [True, [], True]


def test_libsvm(run: Run) -> None:
    code = """
s = tables.libsvm(b"1 0:0.5 3:2\\n0 1:1 # comment\\n\\n1\\n")
d = tables.libsvm(b"1:0.5 2:1\\n0 1:7", labelled=False)
q = tables.libsvm(b"1:0.5 qid:3 1:2\\n0:2 qid:4 1:3\\n")
answer = [str(s.dense(4).tolist()), s.labels.tolist(), s.width, str(d.dense(3).tolist()), q.weights.tolist(), q.groups.tolist()]
for bad in (b"", b"x 1:2", b"1 1:a", b"1 1.5:2", b"1 -1:2", b"1 1:2 3", b"1:2 1:1\\n1 1:1"):
    answer.append(said(lambda: tables.libsvm(bad).values))
"""
    answer = run("xgboost", PRELUDE + code)
    assert answer[0] == "[[0.5, nan, nan, 2.0], [nan, 1.0, nan, nan], [nan, nan, nan, nan]]"
    assert answer[1:3] == [[1, 0, 1], 4]
    assert answer[3] == "[[nan, 0.5, 1.0], [nan, 7.0, nan]]"
    assert answer[4:6] == [[0.5, 2.0], [3, 4]]
    assert all(isinstance(text, str) for text in answer[6:])


def test_records_and_instances(run: Run) -> None:
    code = """
data = recordio.write([recordio.build({"values": [1, 2]}, {"values": [1]}), recordio.build({"values": [3, 4]}, {"values": [0]})])
x, y = tables.records(data)
answer = [x.tolist(), y.tolist(), said(lambda: tables.records(b"1,2,3,4,5")[0]), said(lambda: tables.records(b"")[0])]
cases = [b'{"instances": [{"features": [1, 2]}]}', b'{"instances": [{"data": {"features": {"values": [1, 2]}}}]}',
         b'[[1, 2]]', b'[1, 2]', b'{"instances": [{"data": {"features": {"keys": [1], "shape": [3], "values": [5]}}}]}',
         b'{"instances": [{"features": {"keys": [-1], "values": [5]}}]}', b'{}',
         b'{"instances": []}', b'{"instances": [{"x": 1}]}', b'nonsense', b'[[1], [1, 2]]', b'["a"]']
answer += [str(said(tables.instances, c)) for c in cases]
answer.append(said(tables.instances, b'{"features": [1]}\\n[2]\\n', True))
"""
    answer = run("xgboost", PRELUDE + code)
    assert answer[:2] == [[[1, 2], [3, 4]], [1, 0]]
    assert answer[2:4] == ["data is not RecordIO", "no data"]
    assert answer[4:8] == ["[[1.0, 2.0]]"] * 4
    assert answer[8] == "[[nan, 5.0, nan]]"
    assert not any(text.startswith("[") for text in answer[9:16])
    assert answer[16] == [[1], [2]]


def test_custom_metrics_agree_with_scikit_learn(run: Run) -> None:
    code = """
import sklearn.metrics as m
from clary.toolkit.algorithms.xgboost_metrics import METRICS
rng = np.random.default_rng(0)
y = rng.integers(0, 2, 300).astype("f4"); p = rng.random(300).astype("f4"); c = (p > 0.5).astype(int)
yk = rng.integers(0, 3, 300).astype("f4"); pk = rng.random((300, 3)).astype("f4"); ck = pk.argmax(1)
v = rng.normal(size=300).astype("f4"); w = (v + rng.normal(size=300)).astype("f4")
pairs = [
 ("accuracy", y, p, m.accuracy_score(y, c)), ("accuracy", yk, pk, m.accuracy_score(yk, ck)),
 ("balanced_accuracy", yk, pk, m.balanced_accuracy_score(yk, ck)),
 ("f1", yk, pk, m.f1_score(yk, ck, average="macro")), ("f1_macro", y, p, m.f1_score(y, c, average="macro")),
 ("f1_binary", y, p, m.f1_score(y, c)), ("precision", y, p, m.precision_score(y, c)), ("recall", y, p, m.recall_score(y, c)),
 ("precision_macro", yk, pk, m.precision_score(yk, ck, average="macro")),
 ("precision_micro", yk, pk, m.precision_score(yk, ck, average="micro")),
 ("recall_macro", yk, pk, m.recall_score(yk, ck, average="macro")),
 ("recall_micro", yk, pk, m.recall_score(yk, ck, average="micro")),
 ("mse", v, w, m.mean_squared_error(v, w)), ("r2", v, w, m.r2_score(v, w)),
]
answer = [[name, abs(METRICS[name](a, b) - float(expected)) < 1e-5] for name, a, b, expected in pairs]
"""
    answer = run("sklearn", PRELUDE + code)
    assert len({name for name, _ in answer}) == 13
    assert all(same for _, same in answer), answer
