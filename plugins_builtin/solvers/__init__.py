"""Plate solvers, a module each."""
