"""The gate of a retraining: better than the incumbent on fresh labels, not worse on the pinned holdout, no slice worse, bias within bounds.

Both models are asked once for all rows, by transform jobs; then evaluation's paired tests judge the fresh rows and the pinned ones apart.
The report `gate.json` says `passed` and `why`, and has both evaluations.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from typing import Any, Dict, List, Mapping, Tuple

from clary.toolkit import brief as briefs
from clary.toolkit.evaluation.__main__ import Job, _client
from clary.toolkit.failure import UserError
from clary.toolkit.retraining.collecting import FRESH, LABEL, PART, PINNED

LEAST_PINNED = 30  # rows, below which a holdout judges nothing


@dataclass(frozen=True)
class RetrainingGate:
    """What is asked. `artifact` with `image`: the new model; `incumbent`: the name of the model that serves. `facet`: COLUMN=VALUE, whose
    share of positive predictions must differ from the others' by at most `bias`."""

    artifact: str = ""
    image: str = ""
    incumbent: str = ""
    metric: str = ""
    problem: str = ""
    slices: str = ""
    facet: str = ""
    bias: float = 0.1
    bootstrap: int = 500

    @classmethod
    def read(cls, given: Mapping[str, str]) -> RetrainingGate:
        known = {each.name: str(each.type) for each in fields(cls)}
        made: Dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise UserError("--{} is none of {}.".format(name, ", ".join("--" + each for each in known)))
            kind = float if "float" in known[name] else int if "int" in known[name] else str
            try:
                made[name] = kind(value)
            except ValueError:
                raise UserError("--{} is a number, not {!r}.".format(name, value)) from None
        found = cls(**made)
        for name in ("artifact", "image", "incumbent"):
            if not getattr(found, name):
                raise UserError("--{} is missing.".format(name))
        return found


def run(asked: RetrainingGate, base: str) -> str:
    """Reads the input `dataset` and, where there is one, the brief; writes `gate.json`."""
    from clary.toolkit.evaluation import data as rows
    from clary.toolkit.evaluation import predictions, settings

    job = Job(base)
    frame = rows.read(job.dataset())
    folder = job.folder("brief")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    brief = briefs.load(os.path.join(folder, names[0])) if names else None
    features = [str(name) for name in frame.columns if name not in (LABEL, PART)]
    config: Dict[str, Any] = {
        "target": LABEL,
        "features": features,
        "model": {"artifact": asked.artifact, "image": asked.image, "name": "the new model"},
        "incumbent": {"model_name": asked.incumbent, "name": "the incumbent " + asked.incumbent},
        "bootstrap": asked.bootstrap,
    }
    config.update({name: getattr(asked, name) for name in ("metric", "problem") if getattr(asked, name)})
    if asked.slices:
        config["slices"] = asked.slices.split(",")
    evaluation = settings.parse(config, brief)
    data = rows.prepared(frame, evaluation)
    context = predictions.PredictionContext(_client, job.name, job.role, job.results)
    new = predictions.predict(evaluation.model, "model", data, evaluation, context)
    assert evaluation.incumbent is not None
    old = predictions.predict(evaluation.incumbent, "incumbent", data, evaluation, context)
    document = judged(data, evaluation, new, old, asked)
    output = job.output()
    os.makedirs(output, exist_ok=True)
    with open(os.path.join(output, "gate.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, allow_nan=False)
    return str(document["why"])


def judged(data: Any, evaluation: Any, new: Any, old: Any, asked: RetrainingGate) -> Dict[str, Any]:
    """The report."""
    import dataclasses

    import numpy as np

    from clary.toolkit.evaluation import judgement

    part = data.frame[PART].to_numpy().astype(str)
    fresh, pinned = np.flatnonzero(part == FRESH), np.flatnonzero(part == PINNED)
    if not len(fresh):
        raise UserError("NO_DATA: there are no fresh rows to judge by.")
    made: Dict[str, Any] = {"version": 1.0}
    reasons: List[str] = []
    told: List[str] = []
    for name, chosen, need in (("fresh labels", fresh, "better"), ("the pinned holdout", pinned, "not worse")):
        if len(chosen) < (1 if name == "fresh labels" else LEAST_PINNED):
            told.append("{}: {} rows, not judged".format(name, len(chosen)))
            continue
        threshold = evaluation.brief if need == "better" else None
        how = dataclasses.replace(evaluation, gate={"incumbent": need}, brief=threshold)
        document = judgement.judged(data.only(chosen), how, new.only(chosen), old.only(chosen))
        made[name.replace("the ", "").replace(" ", "_")] = document
        reasons += ["on {} {}".format(name, each) for each in document["gate"]["reasons"]]
        told.append("on {} {}".format(name, judgement.sentence(document)))
    if asked.facet:
        values, sentence = bias(data, new, old, asked)
        made["bias"] = values
        told.append(sentence)
        if not values["within"]:
            reasons.append(sentence)
    passed = not reasons
    verdict = "the new model may serve" if passed else "the incumbent stays: " + "; ".join(reasons)
    why = verdict + ". " + "; ".join(told) + "."
    return {**made, "passed": passed, "reasons": reasons, "why": why[:1000]}


def bias(data: Any, new: Any, old: Any, asked: RetrainingGate) -> Tuple[Dict[str, Any], str]:
    """The difference in proportions of predicted labels (DPPL): the share of positive predictions of the others less the facet's."""
    from clary.toolkit.evaluation.data import BINARY, column, words

    name, _, value = asked.facet.partition("=")
    facet = words(column(data.frame, name, "facet")) == value
    if data.problem != BINARY or new.labels is None or not facet.any() or facet.all():
        raise UserError("--facet {} divides no rows with two classes into two groups.".format(asked.facet))
    found = {
        which: float((model.labels[~facet] == 1).mean() - (model.labels[facet] == 1).mean())
        for which, model in (("new", new), ("incumbent", old))
    }
    within = abs(found["new"]) <= max(asked.bias, abs(found["incumbent"]))
    sentence = "DPPL of {} is {:+.3f}, of the incumbent {:+.3f}, bound {:g}".format(
        asked.facet, found["new"], found["incumbent"], asked.bias
    )
    return {"facet": asked.facet, "bound": asked.bias, "within": within, **found}, sentence
