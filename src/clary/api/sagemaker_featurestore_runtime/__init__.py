"""Operations of SageMaker Feature Store's runtime: records of feature groups."""
