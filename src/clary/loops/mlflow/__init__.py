"""MLflow servers, run and looked after."""
