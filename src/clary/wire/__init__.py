"""AWS's wire protocols, sans I/O: requests to parameters, results and errors to responses, for any botocore model."""
