"""Objectives on data sets, and Optuna's own searches, for `scripts/bench tuning`: JSON lines on stdin and stdout, in an environment with
scikit-learn and Optuna. All objectives are minimized.

{"do": "value", "problem", "params"} -> a number; {"do": "curve", "problem", "params", "epochs"} -> a number for each epoch;
{"do": "optuna", "problem", "seed", "trials", "space"} -> parameters of each trial of Optuna's own TPE on that problem.
"""

import functools
import json
import math
import sys
import warnings

FUNCTIONS = {}


def function(search):
    FUNCTIONS[search.__name__] = search
    return search


@function
def sphere(p):
    return sum((p[name] - 0.4) ** 2 for name in ("x", "y", "z"))


@function
def branin(p):
    x, y = p["x"], p["y"]
    return (
        (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    )


@function
def rosenbrock(p):
    return 100 * (p["y"] - p["x"] ** 2) ** 2 + (1 - p["x"]) ** 2


@function
def ackley(p):
    values = [p["x"], p["y"], p["z"]]
    square = math.sqrt(sum(v * v for v in values) / 3)
    return 20 + math.e - 20 * math.exp(-0.2 * square) - math.exp(sum(math.cos(2 * math.pi * v) for v in values) / 3)


@function
def mixed(p):
    """As hyperparameters are: a rate on a logarithmic scale, a whole number, a choice that matters."""
    return (math.log10(p["rate"]) + 2) ** 2 + abs(p["depth"] - 6) / 4 + {"a": 0.0, "b": 0.5, "c": 1.0}[p["kind"]]


@functools.cache
def data(name):
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    one, other, y_one, y_other = train_test_split(x, y, test_size=0.3, random_state=1)
    scaler = StandardScaler().fit(one)
    return scaler.transform(one), scaler.transform(other), y_one, y_other


def breast_cancer(p):
    from sklearn.metrics import log_loss
    from sklearn.svm import SVC

    x, x_test, y, y_test = data("breast_cancer")
    model = SVC(C=p["C"], gamma=p["gamma"], probability=False).fit(x, y)
    scores = 1 / (1 + __import__("numpy").exp(-model.decision_function(x_test)))
    return float(log_loss(y_test, scores))


def diabetes(p):
    from sklearn.metrics import mean_squared_error
    from sklearn.svm import SVR

    x, x_test, y, y_test = data("diabetes")
    model = SVR(C=p["C"], gamma=p["gamma"], epsilon=p["epsilon"]).fit(x, y)
    return float(mean_squared_error(y_test, model.predict(x_test)) / 1000)


def wine(p):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    x, x_test, y, y_test = data("wine")
    model = LogisticRegression(C=p["C"], tol=p["tol"], max_iter=200).fit(x, y)
    return float(log_loss(y_test, model.predict_proba(x_test)))


def curve(problem, p, epochs):
    """The test loss of a linear model by stochastic gradient descent, after each epoch."""
    import numpy
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    x, x_test, y, y_test = data(problem)
    model = SGDClassifier(
        loss="log_loss", alpha=p["alpha"], learning_rate="constant", eta0=p["eta"], penalty=p["penalty"], random_state=0
    )
    classes, values = numpy.unique(y), []
    for _ in range(epochs):
        model.partial_fit(x, y, classes)
        values.append(float(log_loss(y_test, model.predict_proba(x_test), labels=classes)))
    return values


def value(problem, params):
    found = FUNCTIONS.get(problem) or globals()[problem]
    return float(found(params))


def optuna_own(problem, seed, trials, space):
    import optuna

    optuna.logging.set_verbosity(40)

    def objective(trial):
        params = {}
        for entry in space:
            name, kind = entry["name"], entry["kind"]
            if kind == "categorical":
                params[name] = trial.suggest_categorical(name, entry["choices"])
            elif kind == "int":
                params[name] = trial.suggest_int(name, entry["low"], entry["high"], log=entry["log"])
            else:
                params[name] = trial.suggest_float(name, entry["low"], entry["high"], log=entry["log"])
        return value(problem, params)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True))
    study.optimize(objective, n_trials=trials)
    return [trial.params for trial in study.trials]


def main():
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "value":
            answer = value(asked["problem"], asked["params"])
        elif asked["do"] == "curve":
            answer = curve(asked["problem"], asked["params"], asked["epochs"])
        else:
            answer = optuna_own(asked["problem"], asked["seed"], asked["trials"], asked["space"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
