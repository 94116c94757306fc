"""Fits of single point sources on stamps."""
