"""Evaluation: how good a model's predictions are, where, how surely, and whether that is better than what there is.

`python -m clary.toolkit.evaluation` is the program of the image `clary-evaluate` (see `__main__`). Modules: `settings` (what is asked),
`data` (rows, target, slices), `predictions` (from columns, files, endpoints and models), `measures` (the metrics, by scikit-learn),
`resampling` (the same metrics under weights: bootstrap intervals, paired tests), `judgement` (all of it as one document), `report` (HTML).
"""
