"""EventBridge: patterns, rules, deliveries, schedules. Pure."""
