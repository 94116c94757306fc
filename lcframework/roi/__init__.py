"""Regions of interest: calibrated cutouts, registration and light curves."""
