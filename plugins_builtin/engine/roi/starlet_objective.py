"""STARRED's objective for a region of interest, with its gradient.

The model is point sources plus one pixelated background for all epochs; how it is moved to an epoch is in
:mod:`plugins_builtin.engine.roi.interpolation`. The objective is half of chi2 plus the penalties of
:mod:`plugins_builtin.engine.roi.penalties`. Tests compare it with STARRED's own ``Loss``.

STARRED moves its point sources with the background, by interpolation. That blurs them by up to half a small pixel,
depending on each epoch's dither. With `exact` they are computed at their exact positions instead.
"""

from __future__ import annotations

import attrs
import numpy as np
from jaxtyping import Float, Float32, Int

from lcframework.types import FWHM_PER_SIGMA, Floats, Ints
from plugins_builtin.engine.roi.geometry import Epochs
from plugins_builtin.engine.roi.interpolation import Alignment, rotation_matrix, translation_matrices
from plugins_builtin.engine.roi.operators import Operators
from plugins_builtin.engine.roi.penalties import GaussianPriors, Penalties, Strengths, Values
from plugins_builtin.engine.roi.scene import source_images

#: Unit point sources and their derivatives by x and y: one set for all epochs, or one for each epoch.
_Sources = tuple[Float[Floats, "*each k N N"], Float[Floats, "*each k N N"], Float[Floats, "*each k N N"]]
#: The same on an epoch's data pixels.
_Images = tuple[Float[Floats, "k n n"], Float[Floats, "k n n"], Float[Floats, "k n n"]]
#: Matrices that translate some epochs' images along an axis, and their derivatives.
_Matrices = tuple[Float[Floats, "e N N"], Float[Floats, "e N N"]]


@attrs.frozen(eq=False)
class Moves:
    """The deconvolved image on its way to some epochs, and the matrices that moved it; single precision."""

    rotated: Float32[Floats, "e N N"]
    sideways: Float32[Floats, "e N N"]  # rotated, then translated along x
    x: Float32[Floats, "e N N"]  # translations, and their derivatives
    by_x: Float32[Floats, "e N N"]
    y: Float32[Floats, "e N N"]
    by_y: Float32[Floats, "e N N"]


class StarletObjective:
    """The objective for one set of cutouts."""

    def __init__(
        self,
        epochs: Epochs,
        alignment: Alignment,
        inverse_variance: Float[Floats, "e n n"],
        weights: Float[Floats, "scales N N"],
        strengths: Strengths,
        priors: GaussianPriors,
        exact: bool = False,
        displacement: Float[Floats, "e k 2"] | None = None,
        like: StarletObjective | None = None,
        counted: int | None = None,
    ) -> None:
        """Prepare the operators.

        Parameters
        ----------
        epochs : Epochs
            The data, in square stamps of n pixels.
        alignment : Alignment
            The rotations and translations of the deconvolved image.
        inverse_variance : (e, n, n) array
            0 where a pixel is not used.
        weights : (scales, N, N) array
            Weights of the starlets' penalty.
        strengths : Strengths
            Of the penalties.
        priors : GaussianPriors
            On positions and translations.
        exact : bool
            Whether point sources are computed at their exact positions, not interpolated.
        displacement : (e, k, 2) array, optional
            Displacements of the point sources in each epoch, data pixels of the first epoch.
        like : StarletObjective, optional
            An objective for the same epochs, whose operators are used again.
        counted : int, optional
            The number of epochs that the penalties are multiplied by, where it is not that of the epochs with data.
        """
        self.displacement = displacement
        self.epochs, self.alignment = epochs, alignment
        self.inverse_variance, self.exact = inverse_variance, exact
        self.used = np.flatnonzero((inverse_variance > 0).any(axis=(1, 2)))
        same = like is not None and np.array_equal(like.used, self.used)
        self.operators: Operators = (
            like.operators if like is not None and same else Operators(epochs, alignment, self.used)
        )
        self.unit = float(max(epochs.data[epochs.valid].max(initial=0.0), 1e-30))
        self.penalties = Penalties(self.used, alignment.subsampling, self.unit, weights, strengths, priors, counted)

    def part(self, rows: Int[Ints, " rows"], scale: Float[Floats, " rows"]) -> StarletObjective:
        """Return an objective of chi2 and priors of some epochs, in which each counts for `scale` similar epochs."""
        a, penalties = self.alignment, self.penalties
        return StarletObjective(
            self.epochs.take(rows),
            attrs.evolve(a, alpha=a.alpha[rows], translation=a.translation[rows]),
            self.inverse_variance[rows] * scale[:, None, None],
            penalties.weights,
            attrs.evolve(penalties.strengths, point_sources=0.0),
            penalties.priors.part(rows, scale),
            self.exact,
            None if self.displacement is None else self.displacement[rows],
            counted=len(self.used),
        )

    # ------------------------------------------------------------ the image

    def gaussians(
        self, c: Float[Floats, "k 2"]
    ) -> tuple[Float[Floats, "k N N"], Float[Floats, "k N N"], Float[Floats, "k N N"]]:
        """Return unit point sources on the deconvolved image, and their derivatives by x and y (data px)."""
        n, s = self.alignment.size, self.alignment.subsampling
        # Full PSFs have no target Gaussian; the penalty on their sources needs an image of some width.
        sigma = (self.epochs.fwhm or 2.0) / FWHM_PER_SIGMA
        grid = np.arange(n) - 0.5 * (n - 1)
        axes = []
        for axis in (0, 1):
            d = grid - (s * c[:, axis, None] - self.alignment.offset)
            g = np.exp(-0.5 * (d / sigma) ** 2)
            total = g.sum(axis=1, keepdims=True)
            slope = g * d / sigma**2
            axes.append((g / total, s * (slope / total - g * slope.sum(axis=1, keepdims=True) / total**2)))
        (x, by_x), (y, by_y) = axes
        return y[:, :, None] * x[:, None, :], y[:, :, None] * by_x[:, None, :], by_y[:, :, None] * x[:, None, :]

    def model(self, values: Values) -> Float[Floats, "e n n"]:
        """Return the model; 0 for epochs without data."""
        result = np.zeros(self.epochs.data.shape)
        sources = self.gaussians(values.c)
        for rows, chosen in self.operators.chunks():
            deconvolved = self._deconvolved(values, self._sources_of_epochs(values, sources, chosen)[0], chosen)
            result[chosen] = self._forward(values, deconvolved, rows, chosen)[0] + values.sky[chosen, None, None]
            if self.exact:
                for e in chosen.tolist():
                    result[e] += np.tensordot(values.flux[e], self.exact_sources(values, e)[0], 1)
        return result

    def background(self, values: Values) -> Float[Floats, "e n n"]:
        """Return the background's part of the model, without the sky; 0 for epochs without data."""
        result = np.zeros(self.epochs.data.shape)
        for rows, chosen in self.operators.chunks():
            result[chosen] = self.background_of(values, rows, chosen)
        return result

    def background_of(self, values: Values, rows: slice, chosen: Int[Ints, " e"]) -> Float[Floats, "e n n"]:
        """Return the background's part of the model of a chunk of epochs."""
        return self._forward(values, np.broadcast_to(values.h, (len(chosen), *values.h.shape)), rows, chosen)[0]

    def sources_at(self, values: Values, e: int) -> _Images:
        """Return unit images of the point sources at epoch `e`, and their derivatives by x and y."""
        if self.exact:
            return self.exact_sources(values, e)
        turns, blur, row = self.operators.of_epoch(e)
        shift = self.alignment.subsampling * values.translation[e]
        (x, by_x), (y, by_y) = (translation_matrices(self.alignment.size, np.asarray(a)) for a in shift)
        unit, turn = self.gaussians(self._positions(values, e))[0], turns.one(row)
        turned = unit if turn is None else (turn @ unit.reshape(len(unit), -1).T).T.reshape(unit.shape)
        s = self.alignment.subsampling
        moved = (y @ turned @ x.T, s * (y @ turned @ by_x.T), s * (by_y @ turned @ x.T))
        on_stamp, slope_x, slope_y = (blur(a, slice(row, row + 1)) for a in moved)
        return on_stamp, slope_x, slope_y

    def exact_sources(self, values: Values, e: int) -> _Images:
        """Return unit images and derivatives at epoch `e` of sources that are not interpolated; as `sources_at`."""
        a, s = self.alignment, self.alignment.subsampling
        pivot = a.size // 2 + a.offset - 0.5 * (a.size - 1)
        turn = rotation_matrix(np.radians(a.alpha[e]))
        xy = ((s * self._positions(values, e) - pivot) @ turn.T + pivot) / s + values.translation[e]
        return source_images(self.epochs, e, xy + 0.5 * (self.epochs.shape[0] - 1))

    def _deconvolved(
        self, values: Values, sources: Float[Floats, "*each k N N"], chosen: Int[Ints, " e"]
    ) -> Float[Floats, "e N N"]:
        """Return the deconvolved images of some epochs, exact sources left out."""
        if self.exact:
            return np.broadcast_to(values.h, (len(chosen), *values.h.shape))
        light: Floats = np.einsum("ek,kyx->eyx" if sources.ndim == 3 else "ek,ekyx->eyx", values.flux[chosen], sources)
        light += values.h
        return light

    def _translations(self, values: Values, chosen: Int[Ints, " e"]) -> tuple[_Matrices, _Matrices]:
        """Return the matrices that translate along x and along y, each with its derivative."""
        shift = self.alignment.subsampling * values.translation[chosen]
        size = self.alignment.size
        return translation_matrices(size, shift[:, 0]), translation_matrices(size, shift[:, 1])

    def _forward(
        self, values: Values, deconvolved: Float[Floats, "e N N"], rows: slice, chosen: Int[Ints, " e"]
    ) -> tuple[Float[Floats, "e n n"], Moves]:
        """Return deconvolved images as a chunk of epochs has them, without sky, and the steps to there."""
        (x, by_x), (y, by_y) = self._translations(values, chosen)
        turns, blur = self.operators.of(rows)
        rotated = turns.forth(deconvolved)
        sideways = rotated @ x.swapaxes(1, 2)
        # Gradients need no more than single precision, and cost half in it.
        return blur(y @ sideways), Moves(*(a.astype(np.float32) for a in (rotated, sideways, x, by_x, y, by_y)))

    def _positions(self, values: Values, e: int) -> Float[Floats, "k 2"]:
        """Return the point sources' positions at epoch `e`."""
        return values.c if self.displacement is None else values.c + self.displacement[e]

    def _sources_of_epochs(self, values: Values, sources: _Sources, chosen: Int[Ints, " chosen"]) -> _Sources:
        """Return unit sources and derivatives for some epochs: `sources`, or one set each where they are displaced."""
        if self.displacement is None or self.exact:
            return sources
        positions = values.c + self.displacement[chosen]
        shape = (*positions.shape[:2], *values.h.shape)
        unit, by_x, by_y = self.gaussians(positions.reshape(-1, 2))
        return unit.reshape(shape), by_x.reshape(shape), by_y.reshape(shape)

    def background_gradients(
        self, values: Values, images: Float[Floats, "several e n n"], rows: slice, chosen: Int[Ints, " chosen"]
    ) -> Float32[Floats, "several e N N"]:
        """Return the transpose of :meth:`background_of`'s map, applied to several images of each epoch of a chunk."""
        x, y = (matrices[0].astype(np.float32) for matrices in self._translations(values, chosen))
        at_rest = np.empty((len(images), len(chosen), *values.h.shape), np.float32)
        for i, image in enumerate(images):
            at_rest[i] = self._at_rest(image, x, y, rows)[0]
        return at_rest

    def _at_rest(
        self,
        images: Float[Floats, "e n n"],
        x: Float32[Floats, "e N N"],
        y: Float32[Floats, "e N N"],
        rows: slice,
    ) -> tuple[Float32[Floats, "e N N"], Float32[Floats, "e N N"], Float32[Floats, "e N N"]]:
        """Return the transpose of blurring and moving, applied to images on data pixels.

        The other two values are intermediate: after the columns are moved back, and after the transposed blur alone.
        """
        turns, blur = self.operators.of(rows)
        back = blur.transposed(images.astype(np.float32))
        half = y.swapaxes(1, 2) @ back
        return turns.back(half @ x), half, back

    # ------------------------------------------------------------ value and gradient

    def value(self, values: Values) -> float:
        """Return the objective with exact absolute values."""
        smoothing, self.penalties.smoothing = self.penalties.smoothing, 0.0
        try:
            return self.value_and_gradient(values)[0]
        finally:
            self.penalties.smoothing = smoothing

    def value_and_gradient(self, values: Values) -> tuple[float, Values]:
        """Return the objective and its gradient."""
        sources = self.gaussians(values.c)
        gradient = values.zeros()
        value = 0.0
        for rows, chosen in self.operators.chunks():
            own_sources = self._sources_of_epochs(values, sources, chosen)
            image, moves = self._forward(values, self._deconvolved(values, own_sources[0], chosen), rows, chosen)
            image = image + values.sky[chosen, None, None]
            epochs = chosen.tolist() if self.exact else []
            exact = [self.exact_sources(values, e) for e in epochs]
            for i, (unit, _, _) in enumerate(exact):
                image[i] += np.tensordot(values.flux[chosen[i]], unit, 1)
            weighted = self.inverse_variance[chosen] * (image - self.epochs.data[chosen])
            value += 0.5 * float((weighted * (image - self.epochs.data[chosen])).sum())
            gradient.sky[chosen] = weighted.sum(axis=(1, 2))
            for e, images, w in zip(epochs, exact, weighted, strict=self.exact):
                self._exact_gradient(values, gradient, e, images, w)
            self._pull_back(values, gradient, own_sources, rows, chosen, weighted, moves)
        return value + self.penalties(values, gradient, sources), gradient

    def _pull_back(
        self,
        values: Values,
        gradient: Values,
        sources: _Sources,
        rows: slice,
        chosen: Int[Ints, " e"],
        weighted: Float[Floats, "e n n"],
        moves: Moves,
    ) -> None:
        """Add the gradient of chi2 by translations, background and interpolated sources."""
        s = self.alignment.subsampling
        by_h, half, back = self._at_rest(weighted, moves.x, moves.y, rows)
        gradient.translation[chosen, 0] += s * ((half @ moves.by_x) * moves.rotated).sum(axis=(1, 2))
        gradient.translation[chosen, 1] += s * ((moves.by_y.swapaxes(1, 2) @ back) * moves.sideways).sum(axis=(1, 2))
        gradient.h += by_h.sum(axis=0)
        if self.exact:
            return
        at_rest = by_h.reshape(len(chosen), -1, 1)
        # One set of sources for all epochs, or one an epoch.
        flat = [a.reshape(*a.shape[:-2], values.h.size) for a in sources]
        gradient.flux[chosen] = (flat[0] @ at_rest)[..., 0]
        for axis in (0, 1):
            gradient.c[:, axis] += (values.flux[chosen] * (flat[1 + axis] @ at_rest)[..., 0]).sum(axis=0)

    def _exact_gradient(
        self, values: Values, gradient: Values, e: int, images: _Images, weighted: Float[Floats, "n n"]
    ) -> None:
        """Add the gradient of chi2 by sources that are not interpolated."""
        gradient.flux[e] = np.tensordot(images[0], weighted, 2)
        by_xy = values.flux[e][:, None] * np.stack([np.tensordot(a, weighted, 2) for a in images[1:]], axis=1)
        gradient.translation[e] += by_xy.sum(axis=0)
        gradient.c += by_xy @ rotation_matrix(np.radians(self.alignment.alpha[e]))
