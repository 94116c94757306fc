"""PSFs of a group's epochs in one stack: those that can't stand in it, and kernels of different sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lcframework.types import PSF, Floats


def unlike_the_others(psfs: Sequence[PSF]) -> dict[int, str]:
    """Return which PSFs can't stand in one stack with most of the others, and why.

    Sizes may differ: small kernels are padded, as long as all centres fall on a pixel's centre, or all between two.
    """
    kinds = [(p.subsampling_factor, p.target_fwhm, p.narrow.shape[-1] % 2) for p in psfs]
    usual = Counter(kinds).most_common(1)[0][0]
    names = ("subsampling factor", "target FWHM", "size's remainder by 2")
    return {
        i: "; ".join(
            f"its PSF's {name} is {mine:g}, that of most frames {most:g}"
            for name, mine, most in zip(names, kind, usual, strict=True)
            if mine != most
        )
        for i, kind in enumerate(kinds)
        if kind != usual
    }


def stacked(kernels: Sequence[Floats]) -> Floats:
    """Return square kernels as one array (e, m, m), the smaller ones amid zeros; of one parity all centres stay."""
    largest = max(k.shape[-1] for k in kernels)
    margins = [largest - k.shape[-1] for k in kernels]
    return np.stack([np.pad(k, (m // 2, m - m // 2)) for k, m in zip(kernels, margins, strict=True)])
