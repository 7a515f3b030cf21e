"""SearchExpressions: what they ask, whether a resource matches, and what of it a store can decide. Pure."""
