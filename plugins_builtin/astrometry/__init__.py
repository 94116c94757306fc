"""What plate solvers share: matching sources with stars, and fitting a WCS."""
