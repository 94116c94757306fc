"""Writers of light curves, a module each."""
