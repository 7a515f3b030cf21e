"""Lineage that Clary records by itself."""
