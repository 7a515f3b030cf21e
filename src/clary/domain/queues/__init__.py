"""SQS queues and their messages. Pure."""
