"""SageMaker Runtime: what the control plane answers of it."""
