"""Numerics shared by the fits: the target Gaussian, starlets, robust masking, small solvers.

Signatures state types and shapes, as in ``Float[Floats, "e k"]``: `Floats` is NumPy's array, `Array` JAX's, and the
names are those of its dimensions, equal where they are called alike. Tests check them at run time, jaxtyping and
beartype do it (`tests/helpers/checked_shapes.py`). A name alone has a space before it, ``Float[Floats, " e"]``, and
so does a shape that could pass for a formula: linters would take it for one. The dimensions:

========== ============================================================================================================
e          epochs
k          point sources of a region
f, frames  frames
n          stars, or stamps of one star each, in `stars`, `normalization` and `frames`; elsewhere pixels along a stamp
stars      stars, where n is pixels
ny nx      pixels of an image or a stamp
m, my mx   small pixels of a kernel; in `frames.sky_mesh` blocks of pixels
N          small pixels along the deconvolved image of a region
scales     detail scales of a starlet transform
p          unknowns of one epoch, or of one star
c          coordinates of the positions of a region's point sources, 2 k
shared     unknowns that all epochs share, or all stars of a frame
g, b       galaxies, and bumps on them
terms      of a polynomial in the detector's position
d          of a minimiser's argument
stages     of a homotopy
*stack     whatever is in front
========== ============================================================================================================
"""
