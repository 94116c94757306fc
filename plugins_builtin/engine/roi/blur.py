"""From the deconvolved image to data pixels: rotations of many epochs at once, and convolutions.

A convolution that is followed by sums over blocks of s x s small pixels is needed at every s-th small pixel alone. The
spectrum of these samples is the whole spectrum, folded, so the inverse transform is s^2 times smaller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from lcframework.types import Floats
from plugins_builtin.engine.roi.interpolation import rotation_operator


def convolved(image: Float[Floats, "rows columns"], kernel: Float[Floats, "my mx"]) -> Float[Floats, "rows columns"]:
    """Return an image convolved with a kernel, in the image's size; zero beyond its border.

    The same as ``scipy.signal.fftconvolve`` with ``mode="same"``, whose import takes longer than many fits.
    """
    from scipy.fft import irfft2, next_fast_len, rfft2

    lengths = [next_fast_len(n + m - 1, real=True) for n, m in zip(image.shape, kernel.shape, strict=True)]
    whole = irfft2(rfft2(image, lengths) * rfft2(kernel, lengths), lengths)
    y, x = ((m - 1) // 2 for m in kernel.shape)
    return np.asarray(whole[y : y + image.shape[0], x : x + image.shape[1]])


class Turns:
    """Rotations of some epochs' images, as one sparse operator."""

    def __init__(self, size: int, degrees: Float[Floats, " e"]) -> None:
        """Compute the rotations of images of `size` pixels a side."""
        self.operator = rotation_operator(size, degrees)
        self.area = size * size
        if self.operator is not None:
            entries = (self.operator.data.astype(np.float32), self.operator.indices, self.operator.indptr)
            # With the same indices: by columns, a matrix is its transpose by rows.
            self.transpose = type(self.operator)(entries, shape=self.operator.shape).T

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        if self.operator is None:
            return 0
        o = self.operator
        return int(o.data.nbytes + self.transpose.data.nbytes + o.indices.nbytes + o.indptr.nbytes)

    def one(self, i: int) -> Any:
        """Return the operator (N^2, N^2) of one epoch; None where no epoch is rotated."""
        block = slice(i * self.area, (i + 1) * self.area)
        return None if self.operator is None else self.operator[block, block]

    def forth(self, images: Float[Floats, "e N N"]) -> Float[Floats, "e N N"]:
        """Return the images rotated."""
        return images if self.operator is None else np.reshape(self.operator @ images.ravel(), images.shape)

    def back(self, images: Float[Floats, "e N N"]) -> Float[Floats, "e N N"]:
        """Return the transpose of `forth` applied to images."""
        return images if self.operator is None else np.reshape(self.transpose @ images.ravel(), images.shape)


class Blur:
    """Convolution of some epochs' images with their kernels (``mode="same"``), then sums over data pixels."""

    def __init__(self, kernels: Float[Floats, "e m m"], size: int, subsampling: int) -> None:
        """Compute the spectra of the kernels."""
        from scipy.fft import next_fast_len, rfft2

        s, m = subsampling, kernels.shape[-1]
        self.size, self.subsampling, first = size, s, (m - 1) // 2
        length = -(-(size + m // 2) // s) * s  # light that wraps around does not reach the part that is kept
        while next_fast_len(length, real=True) != length:
            length += s
        self.length, self.coarse = length, length // s
        phases = [np.exp(2j * np.pi * f(length) * first) for f in (np.fft.fftfreq, np.fft.rfftfreq)]
        boxes = [sum(np.exp(2j * np.pi * f(length) * u) for u in range(s)) for f in (np.fft.fftfreq, np.fft.rfftfreq)]
        self.spectra = rfft2(kernels, (length, length)) * np.outer(phases[0] * boxes[0], phases[1] * boxes[1])
        self.conjugates = self.spectra.conj().astype(np.complex64)
        self.mirrored = -np.arange(self.coarse) % self.coarse  # rows of the negative frequencies

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self.spectra.nbytes + self.conjugates.nbytes)

    def __call__(self, images: Float[Floats, "#e N N"], epochs: slice = slice(None)) -> Float[Floats, "e n n"]:
        """Return images on data pixels, convolved with the kernels of all epochs or of some."""
        from scipy.fft import irfft2, rfft2

        s, coarse, n = self.subsampling, self.coarse, self.size // self.subsampling
        spectra = rfft2(images, (self.length, self.length)) * self.spectra[epochs]
        spectra = spectra.reshape(len(spectra), s, coarse, -1).sum(axis=1)
        kept = np.arange(coarse // 2 + 1)
        folded = spectra[..., kept]
        for q in range(1, s):
            column = kept + q * coarse
            near = column <= self.length // 2
            folded[..., near] += spectra[..., column[near]]
            far = self.length - column[~near]
            folded[..., ~near] += spectra[:, self.mirrored][..., far].conj()
        return np.asarray(irfft2(folded, (coarse, coarse))[..., :n, :n] / s**2)

    def transposed(self, images: Float32[Floats, "e n n"]) -> Float32[Floats, "e N N"]:
        """Return the transpose of the call applied to images of single precision."""
        from scipy.fft import irfft2, rfft2

        s, coarse = self.subsampling, self.coarse
        spectra = rfft2(images, (coarse, coarse))
        column = np.arange(self.length // 2 + 1) % coarse
        near = column <= coarse // 2
        tiled = np.empty((len(spectra), coarse, len(column)), spectra.dtype)
        tiled[..., near] = spectra[..., column[near]]
        tiled[..., ~near] = spectra[:, self.mirrored][..., coarse - column[~near]].conj()
        tiled = np.tile(tiled, (1, s, 1)) * self.conjugates
        return np.asarray(irfft2(tiled, (self.length, self.length))[..., : self.size, : self.size])
