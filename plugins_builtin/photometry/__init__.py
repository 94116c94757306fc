"""Photometry of reference stars, a module each."""
