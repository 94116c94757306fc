"""Fits of all epochs of a region of interest."""
