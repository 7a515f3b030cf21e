"""Preparation from end to end in its runtime: scikit-learn is the oracle, and serving gives the job's own bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.toolkit.preparation.programs import PROGRAM

Run = Callable[..., Any]

NASTY = r"""
random.seed(20)
numbers = ["", " 1", "1_000", "inf", "-inf", "nan", "1e400", "1e-400", "4.9e-324", "0.1", "-0", "00012", ".5", "5.", "+1", "+-1",
           "9007199254740993", "123456789012345678901234567890", "0.1000000000000000055511151231257827", "1.7976931348623157e308",
           "-2.2250738585072014e-308", "NA", "3.14159265358979323846", "1e1_0", "\t7 "]
texts = ["", "a", "A", " a", "a ", "NA", "null", "None", "nan", "\u00e4", "a\u0308", "\u65e5\u672c", "\U0001f600", 'say "hi"', "x,y",
         "two\nlines", "\u200b", "0", "0.0", "true", "'", "\\", "a\x1fb", "-", "\u0130", "\ufeffx"]
dates = ["", "2024-02-29", "1969-12-31T23:59:59.999999", "2024-01-01 00:00", "0001-01-01", "9999-12-31T23:59:59Z", "2024-06-30T12:00:00+14:00",
         "2000-01-01T00:00:00.5-0330", "1970-01-01"]
def value():
    if random.random() < 0.5:
        return random.choice(numbers)
    return repr(random.choice([random.gauss(0, 1), random.uniform(-1e9, 1e9), random.randint(-10**18, 10**18), 10.0 ** random.randint(-30, 30)]))
frame = []
for row in range(10_000):
    frame.append([str(row), value(), value(), random.choice(texts), random.choice(texts), str(random.randint(0, 400)),
                  random.choice(texts) + " " + random.choice(texts), random.choice(dates), random.choice(["yes", "no"])])
import csv
buffer = io.StringIO(newline="")
writer = csv.writer(buffer, lineterminator="\n")
names = ["row", "x", "y", "c", "d", "zip", "note", "at", "left"]
writer.writerow(names)
writer.writerows(frame)
recipe = {"target": {"column": "left", "positive": "yes"}, "missing": ["NA"], "split": {"by": "stratified", "seed": 5},
  "columns": {
    "row": {"kind": "number"},
    "x": {"kind": "number", "bound": {"quantiles": [0.05, 0.95]}, "fill": "median", "normalise": "standard", "missing_flag": True},
    "y": {"kind": "number", "bound": {"robust_z": 3}, "normalise": "robust"},
    "q": {"ratio": ["x", "y"], "bound": {"min": -1e9, "max": 1e9}, "fill": {"value": -1}, "normalise": "minmax"},
    "p": {"product": ["x", "y"], "bins": {"quantiles": 5}, "fill": "median", "encode": "one_hot"},
    "m": {"difference": ["x", "y"], "bins": {"edges": [-1, 0, 1]}},
    "c": {"encode": "one_hot", "missing_flag": True}, "d": {"encode": "ordinal", "fill": "most_frequent"},
    "zip": {"kind": "category", "encode": {"target": {"folds": 5, "smooth": 10}}},
    "cd": {"cross": ["c", "d"], "encode": "one_hot", "max_categories": 12},
    "note": {"kind": "text", "hash": {"features": 16}}, "at": {"kind": "date", "parts": ["year", "quarter", "month", "day", "weekday", "hour", "minute", "day_of_year", "seconds"]}}}
out = job(buffer.getvalue(), recipe)
"""  # noqa: E501


@pytest.mark.slow
def test_ten_thousand_nasty_rows_are_served_with_the_bits_of_the_job(run: Run) -> None:
    """Of every row of the parts that nothing was fitted on; of the training part all but the cross-fitted column."""
    code = """
inference, model = served(out)
lines = io.StringIO(newline="")
csv.writer(lines, lineterminator="\\n").writerows([row[:8] for row in frame])
matrix = inference.predict_fn(inference.input_fn(lines.getvalue(), "text/csv"), model)
objects = "\\n".join(json.dumps(dict(zip(names, [value if value != "" else None for value in row[:8]]))) for row in frame)
again = inference.predict_fn(inference.input_fn(objects, "application/jsonlines"), model)
one_by_one = [inference.predict_fn(inference.input_fn(json.dumps({"instances": [dict(zip(names, row[:8]))]}), "application/json"), model)[0] for row in frame[:300]]
written = everything(out)
train = set(part(out, "train")["row"])
wrong = []
place = {name: number for number, name in enumerate(model.names)}
texts_of, kind = inference.output_fn(matrix, "text/csv")
for name in model.names:
    mine = dict(zip(written["row"], bits(written[name])))
    theirs = bits(matrix[:, place[name]])
    wrong += [(name, int(row)) for row in mine if mine[row] != theirs[int(row)] and not (name == "zip" and row in train)]
back = [[float(field or "nan") for field in line.split(",")] for line in texts_of.splitlines()]
answer = {"rows": len(written), "features": len(model.names), "wrong": wrong[:20], "same": bits(matrix) == bits(again),
          "text": bits(back) == bits(matrix), "alone": bits(one_by_one) == bits(matrix[:300]),
          "crossfitted": int((written[written["row"].isin(train)]["zip"].to_numpy() != matrix[written[written["row"].isin(train)]["row"].astype(int), place["zip"]]).sum())}
"""  # noqa: E501
    answer = run("prepare", PROGRAM + NASTY + code, "default")
    assert answer["wrong"] == []
    assert answer["rows"] == 10_000
    assert answer["features"] > 50
    assert answer["same"]
    assert answer["text"]
    assert answer["alone"]
    assert answer["crossfitted"] > 7000  # cross-fitting did something


def test_statistics_are_those_of_scikit_learn(run: Run) -> None:
    code = """
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler, RobustScaler, MinMaxScaler, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.feature_extraction.text import HashingVectorizer
random = np.random.default_rng(4)
n = 6000
frame = pd.DataFrame({"a": random.normal(40, 15, n), "b": np.exp(random.normal(10, 1, n)), "c": random.choice(list("pqrs"), n),
                      "z": random.integers(0, 60, n).astype(str), "t": random.choice(["good one", "bad one", "late"], n), "y": random.normal(0, 1, n)})
frame.loc[random.random(n) < 0.1, "a"] = np.nan
frame.loc[random.random(n) < 0.1, "c"] = None
recipe = {"target": "y", "columns": {"a": {"fill": "median", "bound": {"quantiles": [0.02, 0.98]}, "normalise": "standard"},
  "b": {"normalise": "robust"}, "b2": {"product": ["b", "b"], "normalise": "minmax"}, "b3": {"difference": ["b", "a"], "fill": "mean", "bins": {"quantiles": 7}},
  "c": {"encode": "one_hot", "fill": "most_frequent"}, "z": {"kind": "category", "encode": {"target": {"smooth": 10}}}, "t": {"kind": "text", "hash": {"features": 8}}}}
text = frame.to_csv(index=False)
frame = pd.read_csv(io.StringIO(text), dtype={"z": str})
out = job(text, recipe)
inference, model = served(out)
train = part(out, "train")
rows = frame[frame["y"].isin(train["y"])]
low, high = np.nanquantile(rows["a"], [0.02, 0.98])
clipped = rows[["a"]].clip(low, high)
filled = SimpleImputer(strategy="median").fit_transform(clipped)
wanted = {"a": StandardScaler().fit_transform(filled)[:, 0], "b": RobustScaler().fit_transform(rows[["b"]])[:, 0],
          "b2": MinMaxScaler().fit_transform(rows[["b"]] ** 2)[:, 0]}
m = (rows["b"] - rows["a"]).to_frame()
wanted["b3"] = KBinsDiscretizer(7, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None).fit(m.dropna()).transform(SimpleImputer().fit_transform(m))[:, 0]
c = SimpleImputer(strategy="most_frequent").fit_transform(rows[["c"]].astype(object).where(rows[["c"]].notna(), np.nan))
hot = OneHotEncoder(sparse_output=False).fit(c)
for name, column in zip(hot.categories_[0], hot.transform(c).T):
    wanted["c_" + name] = column
for number, column in enumerate(HashingVectorizer(n_features=8).transform(rows["t"]).toarray().T):
    wanted["t_%d" % number] = column
te = TargetEncoder(target_type="continuous", smooth=10).fit(rows[["z"]], rows["y"])
answer = {name: float(np.abs(train[name].to_numpy() - column).max()) for name, column in wanted.items()}
lines = io.StringIO(rows[["a", "b", "c", "z", "t"]].to_csv(index=False, header=False))
matrix = inference.predict_fn(inference.input_fn(lines.getvalue(), "text/csv"), model)
answer["z"] = float(np.abs(matrix[:, model.names.index("z")] - te.transform(rows[["z"]])[:, 0]).max())
"""  # noqa: E501
    answer = run("prepare", PROGRAM + code, "default")
    assert {name: error for name, error in answer.items() if error > 1e-9} == {}
    assert len(answer) == 4 + 4 + 8 + 1


def test_fitted_objects_of_scikit_learn_give_the_same_bits(run: Run) -> None:
    code = """
from clary.toolkit.preparation.library import Preparation
random = np.random.default_rng(4)
n = 3000
frame = pd.DataFrame({"a": random.normal(40, 15, n), "b": np.exp(random.normal(10, 1, n)), "d": random.normal(0, 1, n), "c": random.choice(list("pqrs"), n),
                      "o": random.choice(list("pqrs"), n), "z": random.choice(list("pqrs"), n), "y": random.choice(["no", "yes"], n)})
frame.loc[random.random(n) < 0.1, "a"] = np.nan
recipe = {"target": "y", "columns": {"a": {"fill": "mean", "bound": {"quantiles": [0.02, 0.98]}, "normalise": "standard"}, "b": {"normalise": "robust"},
   "d": {"normalise": "minmax"}, "c": {"encode": "one_hot"}, "o": {"encode": "ordinal"}, "z": {"encode": "target"}}}
made = Preparation(recipe)
features = made.fit(frame).transform(frame)
answer = {}
for name, steps in made.estimators_.items():
    x = frame[[name]].to_numpy()
    for step in steps:
        x = step.transform(x)
    columns = [each for each in features if each == name or each.startswith(name + "_")]
    answer[name] = bits(x) == bits(features[columns])
crossed = made.fit_transform(frame)
answer["crossfitted"] = bool((crossed["z"] != features["z"]).mean() > 0.9 and bits(crossed["a"]) == bits(features["a"]))
answer["names"] = list(made.get_feature_names_out()) == list(features)
answer["again"] = bits(Preparation.load(served.__globals__["tempfile"].mkdtemp() if False else _saved(made)).transform(frame)) == bits(features)
"""  # noqa: E501
    saved = """
def _saved(made):
    folder = tempfile.mkdtemp()
    with tarfile.open(made.save(folder)) as tar:
        tar.extractall(folder, filter="data")
    return folder
"""
    code = code.replace('served.__globals__["tempfile"].mkdtemp() if False else ', "")
    answer = run("prepare", PROGRAM + saved + code, "default")
    assert set(answer.values()) == {True}
    assert (
        run(
            "sklearn",
            PROGRAM.split("from pathlib")[0]
            + "import pandas\nfrom clary.toolkit.preparation.library import Preparation\nanswer = 1",
        )
        == 1
    )


def test_says_what_is_wrong_with_data(run: Run) -> None:
    code = """
rows = "a,t\\n" + "\\n".join("%d,%s" % (n, "yes" if n % 3 else "no") for n in range(1000))
changed = "a,t\\n" + "\\n".join("%s,%s" % (n if n < 50000 else "unknown%d" % n, n % 2) for n in range(60000))
answer = {
  "column": failure(rows, {"target": "t", "columns": {"age": {}, "aa": {}}, "drop": ["b"]}),
  "target": failure(rows, {"target": "tt"}),
  "one": failure("a,t\\n1,x\\n2,x\\n3,x\\n", {"target": "t"}),
  "missing": failure("a,t\\n1,\\n2,\\n3,\\n", {"target": {"column": "t", "kind": "category"}}),
  "constant": failure("a,t\\n1,5\\n2,5\\n3,5\\n", {"target": "t"}),
  "text": failure("a,t\\n" + "\\n".join("%d,sentence number %d" % (n, n) for n in range(3000)), {"target": "t"}),
  "changes": failure(changed, {"target": "t"}),
  "taken": failure(changed, {"target": "t", "columns": {"a": {"invalid": "missing"}}}),
  "as category": failure(changed, {"target": "t", "columns": {"a": {"kind": "category", "encode": "ordinal"}}}),
  "none": failure("", {"target": "t"}),
  "no rows": failure("a,t\\n", {"target": "t"}),
  "empty column": failure("a,b,t\\n1,,x\\n2,,y\\n3,,y\\n4,,x\\n", {"target": "t", "columns": {"b": {"kind": "number", "fill": "mean"}}, "split": {"parts": {"train": 1.0}}}),
  "positive": failure(rows, {"target": {"column": "t", "positive": "ja"}}),
  "json": failure('{"a": 1}\\n{"a": ', {"columns": {"a": {}}}, "a.jsonl"),
  "parquet": failure(b"PAR1 not really", {}, "a.parquet"),
}
"""  # noqa: E501
    answer = run("prepare", PROGRAM + code, "default")
    assert "columns.age: the data has no column 'age'; it has a, t" in answer["column"]
    assert "drop[0]: the data has no column 'b'" in answer["column"]
    assert "columns.aa: the data has no column 'aa'; it has a, t; did you mean 'a'?" in answer["column"]
    assert "target: the data has no column 'tt'; it has a, t; did you mean 't'?" in answer["target"]
    assert answer["one"] == "The target 't' has one class only, 'x': there is nothing to learn."
    assert answer["missing"] == "The target 't' is missing in all 3 rows."
    assert answer["constant"] == "The target 't' is 5 in every row: there is nothing to learn."
    assert answer["text"].startswith(
        "The target 't' has more than 1,000 different values, and is no number: it looks like text."
    )
    assert answer["changes"].startswith(
        "Column 'a' holds numbers, but row 50,001 has 'unknown50000'. Say `kind: category`"
    )
    assert answer["taken"] == answer["as category"] == ""
    assert answer["none"].startswith("There is no data")
    assert answer["no rows"] == "The data has no rows."
    assert answer["empty column"].startswith("column 'b' has no value in the training part")
    assert answer["positive"] == "target.positive: 'ja' is not one of two classes; the target has 'no', 'yes'."
    assert answer["json"].startswith("The data cannot be read as jsonlines")
    assert answer["parquet"].startswith("The data cannot be read as parquet")


def test_a_category_that_only_serving_sees(run: Run) -> None:
    code = """
rows = "c,d,z,t\\n" + "\\n".join("%s,%s,%s,%d" % ("ab"[n % 2], "xy"[n % 2], "uv"[n % 2], n) for n in range(100))
recipe = {"target": "t", "columns": {"c": {"encode": "one_hot"}, "d": {"encode": "ordinal"}, "z": {"encode": "target"}}}
inference, model = served(job(rows, recipe))
answer = {"ignored": inference.predict_fn(("new,new,new", "text/csv"), model).tolist(), "mean": model.state["columns"][2]["default"]}
recipe["columns"]["c"]["unknown"] = "error"
inference, model = served(job(rows, recipe))
refused = []
for body, kind in (("new,x,u", "text/csv"), ("a,x", "text/csv"), ("", "text/csv"), ("[1", "application/json"), ('{"instances": [{"c": {}}]}', "application/json")):
    try:
        inference.predict_fn((body, kind), model)
    except Exception as error:
        refused.append([error.status_code, str(error)])
try:
    inference.input_fn("x", "image/png")
except Exception as error:
    refused.append([error.status_code, str(error)])
answer["refused"] = refused
"""  # noqa: E501
    answer = run("prepare", PROGRAM + code, "default")
    assert answer["ignored"] == [[0.0, 0.0, -1.0, answer["mean"]]]
    assert [status for status, _ in answer["refused"]] == [400, 400, 400, 400, 400, 415]
    texts = [text for _, text in answer["refused"]]
    assert texts[0] == "column 'c': 'new' is a category that training did not see"
    assert texts[1].startswith("row 1 has 2 values; it needs 3, in this order: c, d, z")


def test_parquet_goes_on_in_another_file_and_csv_does_not(run: Run) -> None:
    """What a Parquet file holds is kept in memory until its end."""
    code = """
jobs.GROUPS = 2
n = 250_000
rows = "x,t\\n" + "\\n".join("%d,%d" % (k, k % 7) for k in range(n))
out = job(rows, {"target": "t", "split": {"parts": {"train": 1.0}}})
tables = [pd.read_parquet(path) for path in sorted((out / "train").iterdir())]
whole = pd.concat(tables)
plain = job(rows, {"target": "t", "split": {"parts": {"train": 1.0}}, "output": {"format": "csv"}})
answer = {"files": [path.name for path in sorted((out / "train").iterdir())], "rows": whole["x"].tolist() == list(range(n)),
  "csv": [path.name for path in (plain / "train").iterdir()], "lines": (plain / "train/part-00000.csv").read_text().count("\\n")}
"""
    answer = run("prepare", PROGRAM + code, "default")
    assert answer["files"] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert answer["rows"]
    assert answer["csv"] == ["part-00000.csv"]
    assert answer["lines"] == 250_000


def test_splits_do_not_leak(run: Run) -> None:
    code = """
n = 20000
rows = "g,at,x,t\\n" + "\\n".join("%d,2024-%02d-%02d,%d,%s" % (k % 500, k % 12 + 1, k % 28 + 1, k, "yes" if k % 10 == 0 else "no") for k in range(n))
def parts(split):
    out = job(rows, {"target": "t", "split": split, "columns": {"x": {}, "g": {"kind": "number"}, "at": {"parts": ["seconds"]}}})
    return {name: part(out, name) for name in split.get("parts", {"train": 0, "validation": 0, "test": 0})}
random, same, stratified = parts({"seed": 1}), parts({"seed": 1}), parts({"by": "stratified", "parts": {"train": 0.7, "test": 0.3}})
group, time = parts({"by": "group", "column": "g"}), parts({"by": "time", "column": "at"})
cut = parts({"by": "time", "column": "at", "parts": {"train": 0.5, "test": 0.5}, "cuts": ["2024-11-01"]})
groups = [set(each["g"]) for each in group.values()]
answer = {"random": [len(each) for each in random.values()], "same": all(random[name].equals(same[name]) for name in random),
  "positives": [float(each["t"].mean()) for each in stratified.values()], "sizes": [len(each) for each in stratified.values()],
  "shared": [len(groups[0] & groups[1]), len(groups[0] & groups[2]), len(groups[1] & groups[2])], "groups": [len(each) for each in groups],
  "ends": [[float(each["at_seconds"].min()), float(each["at_seconds"].max())] for each in time.values()], "shares": [len(each) / n for each in time.values()],
  "cut": float(cut["test"]["at_seconds"].min()), "before": float(cut["train"]["at_seconds"].max())}
"""  # noqa: E501
    answer = run("prepare", PROGRAM + code, "default")
    assert answer["same"]
    assert [abs(size - wanted) <= 100 for size, wanted in zip(answer["random"], (16000, 2000, 2000), strict=True)] == [
        True
    ] * 3
    assert all(abs(share - 0.1) < 0.005 for share in answer["positives"])
    assert answer["shared"] == [0, 0, 0]
    assert all(350 < answer["groups"][0] < 450 for _ in [0])
    ends = answer["ends"]
    assert ends[0][1] <= ends[1][0] <= ends[1][1] <= ends[2][0]
    assert all(abs(share - wanted) < 0.01 for share, wanted in zip(answer["shares"], (0.8, 0.1, 0.1), strict=True))
    assert answer["before"] < 1730419200.0 <= answer["cut"]


MORE_THAN_ITS_MEMORY = """
import time
import pyarrow as pa, pyarrow.parquet as pq
from clary.toolkit.preparation import recipe
from clary.toolkit.preparation.sources import TableSource
top = Path(tempfile.mkdtemp())
long, rows = "v" * LENGTH, SIZE // LENGTH
if FORM == "csv":
    with open(top / "a.csv", "w") as file:
        file.write("x,c\\n")
        file.writelines("%d,%s\\n" % (row, long) for row in range(rows))
elif FORM == "jsonl":
    with open(top / "a.jsonl", "w") as file:
        file.writelines('{"x":%d,"c":"%s"}\\n' % (row, long) for row in range(rows))
else:
    columns = {"x": list(range(rows)), **{"c%d" % each: np.random.default_rng(each).random(rows) for each in range(LENGTH // 8)}}
    pq.write_table(pa.table(columns), top / "a.parquet", row_group_size=rows // 2)
source = TableSource(str(top), {}, 64 << 20, 16)
BOUND = '{"columns": {"x": {}}, "others": "drop"}'
seen = []
def consume(batches):
    for batch in batches:
        seen.extend(batch.rows["x"].tolist())
        if SLOW and len(seen) < 400_000:
            time.sleep(0.02)  # until the threads that read have filled what they may
"""


@pytest.mark.parametrize(
    ("form", "length", "size"), [("csv", 1000, 120 << 20), ("jsonl", 1000, 120 << 20), ("parquet", 240, 96 << 20)]
)
def test_a_file_larger_than_the_memory_of_its_reader(run: Run, form: str, length: int, size: int) -> None:
    """Sixteen threads are offered, and the consumer is slower than they are."""
    given = f"FORM, LENGTH, SIZE, SLOW = {form!r}, {length}, {size}, True\n"
    code = """
consume(source.batches(recipe.bind(recipe.parse(BOUND), source.kinds())))
answer = [source.bytes > 90 << 20, seen == list(range(rows))]
"""
    assert run("prepare", PROGRAM + given + MORE_THAN_ITS_MEMORY + code, "default") == [True, True]


def test_memory_that_runs_out_is_answered_by_fewer_threads_from_the_row_that_was_reached(run: Run) -> None:
    """The first reading is given sixteen threads with the largest buffers, as no plan does."""
    given = "FORM, LENGTH, SIZE, SLOW = 'csv', 1000, 120 << 20, False\n"
    code = """
from clary.toolkit.preparation import scanning
tried, reads = [], source._reads
def spoilt(scan):
    tried.append(scan.threads)
    reads(scanning.Scan(16, 16 << 20) if len(tried) == 1 else scan)
source._reads = spoilt
consume(source.batches(recipe.bind(recipe.parse(BOUND), source.kinds())))
answer = [len(tried) > 1, seen == list(range(rows)), source._scan.threads < 16]
"""
    assert run("prepare", PROGRAM + given + MORE_THAN_ITS_MEMORY + code, "default") == [True, True, True]


def test_rows_too_large_for_the_memory_of_their_reader_are_an_error_that_says_so(run: Run) -> None:
    given = "FORM, LENGTH, SIZE, SLOW = 'csv', 100_000, 220 << 20, False\n"
    code = """
try:
    bound = recipe.bind(recipe.parse('{"columns": {"x": {}, "c": {"kind": "category"}}}'), source.kinds())
    consume(source.batches(bound))
    answer = ""
except SourceError as error:
    answer = str(error)
"""
    assert "do not fit the 64 MiB of memory" in run("prepare", PROGRAM + given + MORE_THAN_ITS_MEMORY + code, "default")
