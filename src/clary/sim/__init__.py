"""The simulator: requests, workers and replicas as events, and the very policy objects of production. Needs the extra `clary[sim]`
(numba, NumPy); production never imports it."""
