"""Models of regions of interest, a module each."""
