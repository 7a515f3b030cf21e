"""The loop of feature groups: makes and removes their stores, and carries the log of records into the offline store."""
