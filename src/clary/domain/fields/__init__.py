"""How Clary treats each field of a request: the tables that validation and docs read."""
