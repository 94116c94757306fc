"""PSF models, a module each."""
