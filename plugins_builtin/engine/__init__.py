"""The numerics: the fits, one package each, and what they share.

Shared are the target Gaussian, starlets, residual light, L-BFGS, robust statistics, threads, and batches on a device.

Signatures state types and shapes, as in ``Float[Floats, "e k"]``. `Floats` is an array of NumPy, `Array` one of JAX.
The names are those of the dimensions; dimensions of the same name have the same size. Tests check this at run time, by
jaxtyping and beartype (`tests/helpers/checked_shapes.py`). A single name has a space before it, as in
``Float[Floats, " e"]``, and so has a shape that looks like a formula, because linters would read it as code.

The dimensions:

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
*stack     any number of dimensions in front of the others
========== ============================================================================================================
"""
