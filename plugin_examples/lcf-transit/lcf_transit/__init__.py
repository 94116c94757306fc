"""A transit of an exoplanet in a light curve of lcframework: what was measured becomes times, radii and a plot."""
