"""Normalizations, a module each."""
