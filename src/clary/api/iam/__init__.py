"""IAM: roles, policies, users and their keys."""
