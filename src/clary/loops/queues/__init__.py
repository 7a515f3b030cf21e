"""The loop of queues."""
