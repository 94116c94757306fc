"""Reference stars: names, selection, quality of stamps, residuals of fluxes, and the zero point."""
