"""Keeps what is used of the machine for `clary cost`."""
