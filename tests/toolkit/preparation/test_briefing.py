"""The check of a brief over real files, in its runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.toolkit.preparation.programs import PROGRAM


def test_counts_what_a_brief_asks_for(run: Callable[..., Any]) -> None:
    code = """
from sklearn.metrics import roc_auc_score
from clary.toolkit.preparation import briefing
chance = np.random.default_rng(2)
def findings(data, name="a.csv", **changes):
    top = Path(tempfile.mkdtemp())
    (top / "data").mkdir()
    (top / "data" / name).write_text(data)
    plain = {"name": "b", "objective": "o", "target": "t", "metric": {"name": "roc_auc"}, "origin": "o", "lawful_basis": "consent", **changes}
    (top / "brief.json").write_text(json.dumps(plain))
    told = briefing.check(str(top / "data"), str(top / "brief.json"), str(top / "out"), 2)
    return {each["about"]: each["level"] for each in reversed(told["findings"])}, told["facts"]
n = 2000
t = chance.integers(0, 2, n)
frame = pd.DataFrame({"x": chance.normal(0, 1, n) + t, "many": chance.integers(0, 700, n).astype(str), "leak": t * 2.5 + 1, "copy": np.where(t, "in", "out"),
                      "when": np.where(t, "2026-01-01", ""), "id": np.arange(n), "part": chance.choice(["train", "test"], n, p=[0.9, 0.1]), "t": np.where(t, "yes", "no")})
two, facts = findings(frame.to_csv(index=False), split={"column": "part"})
auc = roc_auc_score(t, frame["x"])
copies = pd.concat([frame[:50].assign(part="train"), frame[:50].assign(part="test"), frame[50:]])
across, counted = findings(copies.to_csv(index=False), split={"column": "part"}, identifiers=["id"])
frame["y"] = frame["x"] ** 2
number, values = findings(frame.drop(columns="t").to_json(orient="records", lines=True), "a.jsonl", target="y", metric={"name": "mae"})
frame["t"] = chance.choice(list("abc"), n)
frame["three"] = frame["t"]
three, _ = findings(frame.to_csv(index=False))
answer = {"two": two, "auc": abs(facts["features"]["x"]["tells"] - auc), "many": facts["features"]["many"]["tells"], "share": facts["test_share"], "tests": float((frame["part"] == "test").mean()),
  "across": across.get("duplicates"), "counted": counted["duplicates"], "number": number.get("x"), "mean": abs(values["target"]["spread"] - float((frame["y"] - frame["y"].median()).abs().mean())),
  "three": three, "one": findings("x,t\\n1,a\\n2,a\\n")[0], "none": findings("x,t\\n1,\\n2,\\n")[0], "absent": findings("x,y\\n1,2\\n")[0],
  "text": findings("x,t\\n" + "\\n".join("%d,text %d" % (k, k) for k in range(1500)))[0]}
"""  # noqa: E501
    answer = run("prepare", PROGRAM + code, "default")
    two = answer["two"]
    assert {name: two.get(name) for name in ("leak", "copy", "when", "id")} == {
        "leak": "error",
        "copy": "error",
        "when": "error",
        "id": "warning",
    }
    assert "x" not in two
    assert answer["auc"] < 1e-9
    assert answer["many"] < 0.6  # 700 categories of noise are no knowledge
    assert answer["share"] == answer["tests"]
    assert answer["across"] == "error"
    assert answer["counted"]["across"] == 50
    assert answer["number"] == "warning" or answer["number"] == "error"
    assert answer["mean"] < 1e-9
    assert answer["three"]["three"] == "error"
    assert answer["one"] == answer["none"] == answer["absent"] == answer["text"] == {"target": "error"}


def test_counts_by_fewer_threads_when_memory_runs_out(run: Callable[..., Any]) -> None:
    code = """
from clary.toolkit.preparation import briefing, sources
top = Path(tempfile.mkdtemp())
(top / "data").mkdir()
with open(top / "data" / "a.jsonl", "w") as file:
    for k in range(6000):
        file.write(json.dumps({"t": "ab"[k % 2], "x": k, "long": str(k) + "y" * 20000}) + chr(10))
used = []
class Watched(sources.TableSource):
    def _reads(self, scan):
        used.append(scan.threads)
        super()._reads(scan)
briefing.TableSource = Watched
plain = {"name": "b", "objective": "o", "target": "t", "metric": {"name": "roc_auc"}, "origin": "o", "lawful_basis": "consent", "forbidden": []}
(top / "brief.json").write_text(json.dumps(plain))
def told(memory):
    used.clear()
    try:
        return [briefing.check(str(top / "data"), str(top / "brief.json"), str(top / "out"), 8, memory << 20)["facts"]["rows"], list(used)]
    except SourceError as error:
        return [str(error), list(used)]
answer = [told(memory) for memory in (170, 174, 136)]
"""  # noqa: E501
    first, second, small = run("prepare", PROGRAM + code, "default")
    assert [first[0], second[0]] == [6000, 6000]
    assert [3, 1] in (first[1], second[1])
    assert "Out of Memory" in small[0]
    assert small[1][-1] == 1
