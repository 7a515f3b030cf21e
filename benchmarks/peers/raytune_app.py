"""Ray Tune with Optuna: so many trials of so many seconds, so many at a time, actors reused. Who starts it takes the time."""

import sys
import time


def main():
    from ray import init, tune
    from ray.tune.search.optuna import OptunaSearch

    trials, parallel, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

    def objective(config):
        time.sleep(seconds)
        tune.report({"loss": (config["x"] - 0.3) ** 2})

    init(num_cpus=parallel, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            search_alg=OptunaSearch(seed=1),
            num_samples=trials,
            max_concurrent_trials=parallel,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(verbose=0),
    )
    results = tuner.fit()
    assert len(results) == trials, len(results)
    assert not results.errors, results.errors[:1]


if __name__ == "__main__":
    main()
