"""What user scripts import of AWS's own containers: `sagemaker_inference`, `sagemaker_training`,
`sagemaker_containers`, `sagemaker_xgboost_container`.

Owns the public functions of those packages that published scripts use, over this toolkit. This folder (`paths.COMPAT`) goes to the
*end* of the path, so that a package of that name that the user installed wins.
"""
