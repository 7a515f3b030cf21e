"""CloudWatch alarms: rules, evaluation, and what they tell."""
