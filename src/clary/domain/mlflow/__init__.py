"""MLflow servers behind SageMaker's API: tracking servers and apps."""
