"""The loop of alarms, and the delivery of what they tell."""
