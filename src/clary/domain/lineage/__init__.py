"""Lineage: what was made from what. Entities (artifacts, actions, contexts, trial components), associations between them, and what Clary
derives of both from jobs, models, packages and endpoints. Pure."""
