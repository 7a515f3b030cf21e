"""The machine: sizes of instance types, what is reserved and used of it, and the workloads that run on it."""
