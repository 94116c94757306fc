"""Numerics shared by the fits: the target Gaussian, starlets, robust masking, small solvers."""
