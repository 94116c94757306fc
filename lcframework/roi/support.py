"""Where a region's pixels are covered by the PSF, so that its sources are measured as the reference stars are.

A PSF is fitted on the stars' stamps and normalised there: light beyond them belongs to no flux. It cancels between
stars and target only where both are fitted on the same support. A region's stamp may be larger; pixels of it that no
source's PSF reaches hold light that the model lacks, which lowers the flux the more, the worse the seeing is.
"""

from __future__ import annotations

import numpy as np

from lcframework.types import Bools, Cutouts, PointSources


def beyond_psfs(cutouts: Cutouts, sources: PointSources) -> Bools:
    """Return which pixels of each epoch no point source's PSF reaches; none where there is no source.

    Parameters
    ----------
    cutouts : Cutouts
        The region's epochs.
    sources : PointSources
        Those of the region.

    Returns
    -------
    (e, ny, nx) array of bool
    """
    beyond = np.zeros(cutouts.mask.shape, bool)
    if not len(sources.offset):
        return beyond
    reach = 0.5 * cutouts.kernels.values.shape[-1] / cutouts.kernels.subsampling_factor
    yy, xx = np.indices(beyond.shape[1:])
    for epoch, transform in enumerate(cutouts.transform):
        centres = np.asarray(sources.offset, float) @ transform[:, :2].T + transform[:, 2]
        distances = [np.maximum(np.abs(xx - x), np.abs(yy - y)) for x, y in centres]
        beyond[epoch] = np.min(distances, axis=0) > reach
    return beyond
