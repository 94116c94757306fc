"""A background that all epochs of a star share: nebulosity, a host galaxy, a faint neighbour.

The image h has small pixels and moves with the star. In epoch e it is shifted to the star's position (bilinear
interpolation), convolved with the epoch's kernel and summed over blocks of small pixels: ``B_e h``. Together with the
point sources, which are ``f_e T_e + b_e``, it minimises STARRED's objective,

    ``1/2 sum_e |d_e - f_e T_e - b_e - B_e h|^2_w + lambda sum_j W_j |(Phi h)_j|``

over the detail scales of the starlet transform Phi. W_j is the standard deviation that the noise of all epochs gives
to the transform of the likelihood's gradient, so that lambda counts standard deviations.

Flux, pedestal and (linearised) position of each epoch are solved for at every trial h. A star's flux and position are
nearly degenerate with the background under it, and a search in all unknowns would be slow along these valleys. The
absolute values are rounded off at zero, by less in each of several fits.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import minimize

from lcframework.types import Floats
from plugins_builtin.engine.starlet import details, details_transposed, smoothing_matrices
from plugins_builtin.engine.stars.point_source_fit import PointSourceStamps, solve_linear

Complexes = NDArray[np.complexfloating[Any, Any]]

#: Strength of the penalty, standard deviations of the noise.
STRENGTH = 3.0
# Largest change of the objective by rounding off a coefficient's absolute value, one fit after the other.
_ROUNDING = (1.0, 0.1, 0.01)
_ITERATIONS = (60, 80, 120)
# Epochs at a time, so that memory does not grow with their number.
_CHUNK = 64


@attrs.frozen(eq=False)
class SharedBackground:
    """A fitted background."""

    image: Float[Floats, "m m"]  # e-/s a small pixel
    objective: float
    evaluations: int
    converged: bool


class BackgroundModel:
    """The linear map from the shared image to the stamps at given positions of the star."""

    def __init__(self, stamps: PointSourceStamps, position: Float[Floats, "e 2"]) -> None:
        ny, nx = stamps.data.shape[1:]
        self._stamps = stamps
        self._sub = stamps.subsampling
        # A square, so that the starlet's matrices are the same for both axes.
        self.size = max(ny, nx) * self._sub
        self._shape = (ny, nx)
        my, mx = stamps.kernels.shape[1:]
        # A margin for the kernel and the star's shift on either side: no light may wrap around the edge.
        widest = int(np.ceil(self._sub * np.abs(position).max(initial=0.0))) + 2
        self._grid = fft.next_fast_len(self.size + max(my, mx) + widest, real=True)
        self._transfer = (
            fft.rfft2(stamps.kernels, (self._grid, self._grid))
            * self._shift_spectrum(position[:, 1], my, real=False)[:, :, None]
            * self._shift_spectrum(position[:, 0], mx, real=True)[:, None, :]
        )
        # Half the rows and columns by which a stamp that is not square is smaller than the image.
        self._skip = ((self.size - ny * self._sub) // 2, (self.size - nx * self._sub) // 2)

    def _shift_spectrum(
        self, offset: Float[Floats, " e"], kernel_size: int, real: bool
    ) -> Complex[Complexes, "e frequencies"]:
        """Return the transfer function of moving the image by `offset` data pixels along one axis.

        The kernel's centre is at ``(kernel_size - 1) / 2``. Where that lies between pixels, the image's grid is defined
        half a small pixel off, so that an unshifted star needs no interpolation.
        """
        distance = self._sub * offset
        whole = np.floor(distance)
        part = distance - whole
        frequency = (fft.rfftfreq if real else fft.fftfreq)(self._grid)
        turn = np.exp(-2j * np.pi * frequency)
        moved: Complexes = (turn ** (whole - kernel_size // 2)[:, None]) * (1.0 - part[:, None] + part[:, None] * turn)
        return moved

    def chunks(self) -> list[slice]:
        """Return slices of the epochs that are computed together."""
        return [slice(i, i + _CHUNK) for i in range(0, len(self._stamps), _CHUNK)]

    def forward(self, image: Float[Floats, "m m"], part: slice) -> Float[Floats, "e ny nx"]:
        """Return the stamps ``B_e h`` of an image h, for the epochs `part`."""
        ny, nx = self._shape
        small = fft.irfft2(fft.rfft2(image, (self._grid, self._grid)) * self._transfer[part], (self._grid, self._grid))
        top, left = self._skip
        small = small[:, top : top + ny * self._sub, left : left + nx * self._sub]
        return np.asarray(small.reshape(-1, ny, self._sub, nx, self._sub).sum(axis=(2, 4)))

    def adjoint(self, stamps: Float[Floats, "e ny nx"], part: slice) -> Float[Floats, "m m"]:
        """Return the image that the transpose of :meth:`forward` gives for stamps."""
        top, left = self._skip
        ny, nx = self._shape
        small = np.zeros((len(stamps), self._grid, self._grid))
        small[:, top : top + ny * self._sub, left : left + nx * self._sub] = np.repeat(
            np.repeat(stamps, self._sub, axis=1), self._sub, axis=2
        )
        total = np.sum(fft.rfft2(small) * np.conj(self._transfer[part]), axis=0)
        return np.asarray(fft.irfft2(total, (self._grid, self._grid))[: self.size, : self.size])

    def noise_weights(self) -> Float[Floats, "scales m m"]:
        """Return the standard deviation of the starlet coefficients of the likelihood's gradient.

        It is that of the noise ``n_e / sigma_e^2`` of all epochs after the transpose. Two approximations are made: the
        kernel is the epochs' mean, and a data pixel's variance is spread evenly over its small pixels.
        """
        mean = self._stamps.kernels.mean(axis=0)
        box = np.ones(self._sub)
        # The transpose's kernel: the response of the image's pixels to one data pixel.
        size = mean.shape[0] + self._sub - 1
        blocks = np.zeros((size, mean.shape[1] + self._sub - 1))
        for i in range(self._sub):
            for j in range(self._sub):
                blocks[i : i + mean.shape[0], j : j + mean.shape[1]] += box[i] * box[j] * mean
        wide = 3 * self.size
        embedded = np.zeros((wide, wide))
        rows, columns = min(blocks.shape[0], wide), min(blocks.shape[1], wide)
        y, x = (wide - rows) // 2, (wide - columns) // 2
        embedded[y : y + rows, x : x + columns] = blocks[:rows, :columns]
        scales = len(smoothing_matrices(self.size))
        response = details(embedded)[:scales] ** 2
        ny, nx = self._shape
        top, left = self._skip
        source = np.zeros((wide, wide))
        total = self._stamps.weight.sum(axis=0)
        spread = np.repeat(np.repeat(total, self._sub, axis=0), self._sub, axis=1) / self._sub**2
        source[
            self.size + top : self.size + top + ny * self._sub, self.size + left : self.size + left + nx * self._sub
        ] = spread
        grid = fft.next_fast_len(2 * wide, real=True)
        spectrum = np.conj(fft.rfft2(response, (grid, grid))) * fft.rfft2(source, (grid, grid))
        variance = np.roll(fft.irfft2(spectrum, (grid, grid)), (wide // 2, wide // 2), axis=(1, 2))
        inner = slice(self.size, 2 * self.size)
        return np.asarray(np.sqrt(np.maximum(variance[:, inner, inner], 0.0)))


def fit_background(
    stamps: PointSourceStamps,
    position: Float[Floats, "e 2"],
    start: Float[Floats, "m m"] | None = None,
    strength: float = STRENGTH,
) -> tuple[SharedBackground, Float[Floats, "e ny nx"]]:
    """Fit the shared image, for given positions of the star.

    Parameters
    ----------
    stamps : PointSourceStamps
        All epochs of one star.
    position : (e, 2) array
        The star's positions, pixels from the stamp's centre: the image is shifted to them, and the point sources are
        linearised about them.
    start : (m, m) array, optional
        An image to start from.
    strength : float
        The penalty's lambda, standard deviations.

    Returns
    -------
    SharedBackground
        The image.
    (e, ny, nx) array
        Its part of the stamps, e-/s.
    """
    model = BackgroundModel(stamps, position)
    weights = strength * model.noise_weights()
    unit = _unit(stamps)
    problem = _Problem(stamps, model, _StarSpace.about(stamps, position), weights * unit, unit)
    image = np.zeros((model.size, model.size)) if start is None else start / unit
    evaluations = 0
    answer: Any = None
    for rounding, iterations in zip(_ROUNDING, _ITERATIONS, strict=True):
        if start is not None and rounding != _ROUNDING[-1]:
            continue
        answer = minimize(
            lambda flat, rounding=rounding: problem(flat, rounding),
            image.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": 12, "ftol": 1e-7, "gtol": 0.0},
        )
        image = answer.x.reshape(model.size, model.size)
        evaluations += int(answer.nfev)
    fitted = SharedBackground(image * unit, float(answer.fun), evaluations, bool(answer.success))
    share = np.concatenate([model.forward(fitted.image, part) for part in model.chunks()])
    return fitted, share


def _unit(stamps: PointSourceStamps) -> float:
    """Return a scale of the image's pixels: the error of a pixel from all epochs together, with all others held."""
    total = np.sum(stamps.weight) / stamps.data[0].size
    return float(1.0 / np.sqrt(max(total, 1e-300))) / stamps.subsampling**2


@attrs.frozen(eq=False)
class _StarSpace:
    """The part of each epoch's stamp that a star's flux, small shifts and pedestal can fit, in standard deviations."""

    root: Float[Floats, "e pixels"]  # square root of the weights
    slope: Float[Floats, "e 4 pixels"]  # of the model, times the root
    solution: Float[Floats, "e 4 4"]  # inverse of the normal matrix, prior included

    @classmethod
    def about(cls, stamps: PointSourceStamps, position: Float[Floats, "e 2"]) -> _StarSpace:
        images = stamps.images(position)
        flux, _ = solve_linear(stamps.data, stamps.weight, images.value, stamps.pedestal)
        strength = flux[:, None, None]
        pedestal = np.full_like(images.value, float(stamps.pedestal))
        slope = np.stack([images.value, strength * images.by_x, strength * images.by_y, pedestal], axis=1)
        root = np.sqrt(stamps.weight).reshape(len(stamps), -1)
        slope = slope.reshape(len(stamps), 4, -1) * root[:, None, :]
        normal = slope @ slope.swapaxes(1, 2)
        # The shifts have the positions' prior; flux and pedestal get a small precision where there are no data.
        tiny = 1e-12 * np.maximum(normal[:, [0, 3], [0, 3]], 1e-30)
        normal[:, [0, 3], [0, 3]] += np.where(normal[:, [0, 3], [0, 3]] > 0, tiny, 1.0)
        normal[:, [1, 2], [1, 2]] += stamps.prior**-2
        return cls(root, slope, np.linalg.inv(normal))

    def unexplained(self, data: Float[Floats, "e ny nx"], part: slice) -> tuple[float, Float[Floats, "e pixels"]]:
        """Return half the least chi2 (with the shifts' prior) of stamps, and the weighted residuals."""
        scaled = data.reshape(len(data), -1) * self.root[part]
        slope = self.slope[part]
        right = slope @ scaled[..., None]
        residual = scaled - ((self.solution[part] @ right).swapaxes(1, 2) @ slope)[:, 0]
        # At the minimum, chi2 with its prior is the data times the residual.
        return 0.5 * float(np.sum(scaled * residual)), residual * self.root[part]


@attrs.frozen(eq=False)
class _Problem:
    """The objective and its gradient by the image in units of `unit`."""

    stamps: PointSourceStamps
    model: BackgroundModel
    star: _StarSpace
    weights: Float[Floats, "scales m m"]
    unit: float

    def __call__(self, flat: Float[Floats, " d"], rounding: float) -> tuple[float, Float[Floats, " d"]]:
        size = self.model.size
        image = flat.reshape(size, size)
        value, gradient = self._penalty(image, rounding)
        for part in self.model.chunks():
            data = self.stamps.data[part]
            half, weighted = self.star.unexplained(data - self.unit * self.model.forward(image, part), part)
            value += half
            gradient -= self.unit * self.model.adjoint(weighted.reshape(data.shape), part)
        return value, gradient.ravel()

    def _penalty(self, image: Float[Floats, "m m"], rounding: float) -> tuple[float, Float[Floats, "m m"]]:
        coefficients = details(image)
        tip = rounding / np.maximum(self.weights, 1e-300)
        length = np.sqrt(coefficients**2 + tip**2)
        return float(np.sum(self.weights * (length - tip))), details_transposed(self.weights * coefficients / length)
