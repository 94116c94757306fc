"""Reductions by bias, dark and flat, a module each."""
