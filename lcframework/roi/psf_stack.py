"""Stacks of the PSFs of a group's epochs: finds PSFs that don't fit in, and pads kernels of different sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lcframework.types import PSF, Floats


def unlike_the_others(psfs: Sequence[PSF]) -> dict[int, str]:
    """Return by index the PSFs that can't be in one stack with the majority, and why.

    Sizes may differ, because small kernels are padded; but all sizes must be odd, or all even, so that centres agree.
    """
    kinds = [(p.subsampling_factor, p.target_fwhm, p.narrow.shape[-1] % 2) for p in psfs]
    usual = Counter(kinds).most_common(1)[0][0]
    names = ("subsampling factor", "target FWHM", "size's remainder by 2")
    return {
        i: "; ".join(
            f"its PSF's {name} is {own:g}, that of most frames {most:g}"
            for name, own, most in zip(names, kind, usual, strict=True)
            if own != most
        )
        for i, kind in enumerate(kinds)
        if kind != usual
    }


def stacked(kernels: Sequence[Floats]) -> Floats:
    """Return square kernels as one array (e, m, m); smaller ones are padded by zeros, with their centres unchanged."""
    largest = max(k.shape[-1] for k in kernels)
    margins = [largest - k.shape[-1] for k in kernels]
    return np.stack([np.pad(k, (m // 2, m - m // 2)) for k, m in zip(kernels, margins, strict=True)])
