"""Backups of a state folder: taken while Clary runs, kept in a folder or in S3, restored whole or not at all."""
