"""Cosmic-ray finders, a module each."""
