"""Batch transform: the records of its jobs, which objects they read, and how a job goes on. What is done to a record of data is in
`toolkit/transform`, which runs inside the sandbox."""
