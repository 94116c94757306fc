"""lcframework: light curves of blended point sources from wide-field images."""
