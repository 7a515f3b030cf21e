"""The loop of endpoints: models, replicas, credentials, telemetry."""
