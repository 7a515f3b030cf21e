"""Suggests hyperparameters with Optuna, in a process of its own: requests and answers are JSON, one a line, on stdin and stdout.

It keeps nothing that matters: each request carries the whole study (seed, ranges, what was asked and told, in that order), which is
replayed to Optuna, so a process that was killed and started again suggests what it would have suggested. A study that goes on where
the last request left it is not replayed again. Ends at the end of its input. Imports Optuna only when it runs.

Request: {"id": 1, "do": "suggest" | "importances", "study": STUDY}; answer: {"id": 1, "answer": ...} or {"id": 1, "error": "words"}.
STUDY: {"sampler": "tpe" | "random", "seed": 0, "direction": "minimize" | "maximize", "space": [{"name", "kind": "float" | "int" |
"categorical", "low", "high", "log", "choices"}], "prior": [{"params", "value"}], "events": [["ask", params], ["tell", number,
"complete" | "pruned" | "failed", value, [values by epoch]]]}. "suggest" answers the parameters by name, "importances" the shares by name.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List, Optional


class Replayed:
    """A study of Optuna's that has seen these events. `exact`: Optuna suggested all that the events say it did."""

    def __init__(self, optuna: Any, told: Dict[str, Any], exact: bool = True) -> None:
        self._optuna = optuna
        self.fixed = {key: told[key] for key in ("sampler", "seed", "direction", "space", "prior")}
        self.exact = exact
        self.events: List[Any] = []
        self._trials: List[Any] = []
        self._pending: Optional[Any] = None
        self._space = {entry["name"]: distribution(optuna, entry) for entry in told["space"]}
        seed = told["seed"] if exact else (told["seed"] + 7919 * (1 + len(told["events"]))) % 2**32
        self.study = optuna.create_study(direction=told["direction"], sampler=sampler(optuna, told["sampler"], seed))
        for entry in told["prior"]:
            space = {name: self._space[name] for name in entry["params"]}
            self.study.add_trial(
                optuna.trial.create_trial(params=entry["params"], distributions=space, value=entry["value"])
            )
        self._before = len(told["prior"])

    def follows(self, told: Dict[str, Any]) -> bool:
        """Whether that study is this one, and what happened since."""
        known = len(self.events)
        if any(self.fixed[key] != told[key] for key in self.fixed) or told["events"][:known] != self.events:
            return False
        further = told["events"][known:]
        if self._pending is None:
            return True
        return bool(further) and further[0] == ["ask", self._pending.params]

    def advance(self, events: List[Any]) -> bool:
        """Take in the events after those that are known. False: Optuna suggested other parameters than the study says."""
        for event in events[len(self.events) :]:
            if event[0] == "ask":
                trial = self._asked(event[1])
                if trial.params != event[1]:
                    return False
                self._trials.append(trial)
            else:
                self._tell(*event[1:])
            self.events.append(event)
        return True

    def suggest(self) -> Dict[str, Any]:
        if self._pending is None:
            self._pending = self.study.ask(self._space)
        return dict(self._pending.params)

    def _asked(self, params: Dict[str, Any]) -> Any:
        trial, self._pending = self._pending, None
        if trial is not None:
            return trial
        if not self.exact:
            self.study.enqueue_trial(params)
        return self.study.ask(self._space)

    def _tell(self, number: int, state: str, value: Optional[float], values: List[float]) -> None:
        states = self._optuna.trial.TrialState
        trial = self._trials[number]
        if state == "complete":
            self.study.tell(trial, value)
        elif state == "pruned":
            for epoch, each in enumerate(values, 1):
                trial.report(each, epoch)
            self.study.tell(trial, state=states.PRUNED)
        else:
            self.study.tell(trial, state=states.FAIL)


def distribution(optuna: Any, entry: Dict[str, Any]) -> Any:
    kinds = optuna.distributions
    if entry["kind"] == "categorical":
        return kinds.CategoricalDistribution(entry["choices"])
    if entry["kind"] == "int":
        return kinds.IntDistribution(entry["low"], entry["high"], log=entry["log"])
    return kinds.FloatDistribution(entry["low"], entry["high"], log=entry["log"])


def sampler(optuna: Any, name: str, seed: int) -> Any:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


class SamplerServer:
    """Answers requests; keeps the studies that it saw last."""

    MOST = 8

    def __init__(self, optuna: Any) -> None:
        self._optuna = optuna
        self._studies: List[Replayed] = []

    def answer(self, request: Dict[str, Any]) -> Any:
        if request["do"] == "importances":
            return importances(self._optuna, request["study"])
        study = self._study(request["study"])
        self._studies = [study, *(each for each in self._studies if each is not study)][: self.MOST]
        return study.suggest()

    def _study(self, told: Dict[str, Any]) -> Replayed:
        for known in self._studies:
            if known.follows(told):
                if known.advance(told["events"]):
                    return known
                self._studies.remove(known)
                break
        fresh = Replayed(self._optuna, told)
        if fresh.advance(told["events"]):
            return fresh
        # Another version of Optuna suggested the trials so far: they stand as they are.
        given = Replayed(self._optuna, told, exact=False)
        if not given.advance(told["events"]):
            raise ValueError("the trials so far do not fit into the ranges")
        return given


def importances(optuna: Any, told: Dict[str, Any]) -> Dict[str, float]:
    """The share of each parameter in how the objective varies (PED-ANOVA); {} where too few trials ended to tell."""
    study = Replayed(optuna, {**told, "events": []}).study
    space = {entry["name"]: distribution(optuna, entry) for entry in told["space"]}
    asked = [event[1] for event in told["events"] if event[0] == "ask"]
    for event in told["events"]:
        if event[0] == "tell" and event[3] is not None:
            study.add_trial(
                optuna.trial.create_trial(params=asked[event[1]], distributions=space, value=float(event[3]))
            )
    trials = study.get_trials(deepcopy=False)
    if len(trials) < 4 or len({trial.value for trial in trials}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def main() -> int:
    import logging
    import warnings

    warnings.simplefilter("ignore")
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    server = SamplerServer(optuna)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"id": request["id"], "answer": server.answer(request)}
        except Exception as error:
            answer = {"id": request["id"], "error": "{}: {}".format(type(error).__name__, error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
