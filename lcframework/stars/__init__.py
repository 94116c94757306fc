"""Reference stars: names, selection, quality, residuals and the zero point they give."""
