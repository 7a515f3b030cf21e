"""What a node does for workloads by value: lay out their files, and store their results (docs/adr/0019-workloads-by-value.md)."""
