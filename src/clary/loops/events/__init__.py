"""The loops of events: what is told, when, and to whom."""
