"""Latency objectives: the policy of Clary's own, turn by turn."""
