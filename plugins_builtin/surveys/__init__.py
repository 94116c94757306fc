"""Calibration surveys, a module each."""
