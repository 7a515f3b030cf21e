"""CloudWatch Logs: groups, streams, events, and filter patterns."""
