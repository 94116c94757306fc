"""Choices of comparison stars."""
