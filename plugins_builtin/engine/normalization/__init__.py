"""The inhomogeneous ensemble of comparison stars."""
