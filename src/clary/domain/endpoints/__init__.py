"""Endpoints: records, fleets of replicas, rollouts, routes, and everything that is done to them."""
