"""Ephemerides: where the target of a region is in time."""
