"""Feature groups: what they hold, what a record of them may be, and where its history lies. Source: SageMaker's Feature Store documents."""
