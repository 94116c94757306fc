"""Numerics of whole frames: sky, moments of sources, overscan."""
