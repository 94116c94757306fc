"""``plots/PSFs/<name>_<ref>.jpg``: the stars of a frame's PSF, their noise maps and residuals, the loss, the PSF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import h5py
import numpy as np

from lcframework.report.plots.canvas import COLOURS, Canvas, nice_ticks, phases_of, powers_of_ten
from lcframework.report.plots.mosaic import diverging, intensity, linear, mosaic
from lcframework.storage.stamp_files import read_stamps
from lcframework.types import Bools, Floats

_LIMIT = 5.0  # sigma at the ends of the residuals' colours
_PER_BLOCK = 12


@attrs.frozen
class Payload:
    """The files of a PSF, the title, and the letters of its stars."""

    title: str
    stamps: str
    psf: str
    names: Mapping[str, str]  # letters by gaia_id


@attrs.frozen(eq=False)
class Fitted:
    """A PSF fit: the stamps of its stars, and the results."""

    names: list[str]
    data: Floats  # (n, ny, nx)
    noise: Floats
    mask: Bools  # (n, ny, nx) before the fit, and outliers found in it
    residuals: Floats  # data - model
    star_chi2: Floats  # (n,)
    loss: Floats
    full: Floats  # (m, m)
    subsampling: int


def draw(fitted: Fitted, title: str) -> Canvas:
    """Return the picture: three rows for each block of stars; the loss and the PSF at the right."""
    n = len(fitted.data)
    columns = min(n, _PER_BLOCK)
    blocks = -(-n // _PER_BLOCK)
    cell = 0.86
    width, height = cell * columns, 3 * cell * blocks + 0.24 * (blocks - 1)
    side = 1.45
    tall = max(height, 2.55)
    made = Canvas(width + side + 1.75, tall + 0.62, title)
    for block in range(blocks):
        bottom = 0.12 + tall - 3 * cell * (block + 1) - 0.24 * block
        which = range(block * _PER_BLOCK, min(n, (block + 1) * _PER_BLOCK))
        _stars(made, fitted, which, (0.75, bottom, width, 3 * cell), columns)
    left = 0.75 + width + 0.55
    _convergence(made, (left, 0.12 + tall - 0.72, side, 0.72), fitted.loss)
    image = intensity(fitted.full, float(fitted.full.max()) * 1e-3)[::-1]
    made.picture(image, left, 0.12, 1.25, 1.25)
    made.text(left, 1.41, f"PSF, {fitted.subsampling} × {fitted.subsampling} per pixel", size=8.5)
    return made


def _convergence(made: Canvas, box: tuple[float, float, float, float], loss: Floats) -> None:
    """Draw the convergence of the fit; phases have alternating colours."""
    phases = list(phases_of(loss))
    shown = np.concatenate([e[np.isfinite(e)] for _, e in phases]) if phases else np.zeros(0)
    low, high = (float(np.log10(f(shown))) for f in (np.min, np.max)) if shown.size else (0.0, 1.0)
    y = (low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3)
    axes = made.axes(box, (-0.5, max(len(loss), 2) - 0.5), y)
    for k, (steps, excess) in enumerate(phases):
        made.curve(axes, steps, np.log10(excess), COLOURS[k % 2])
    axes.ticks(*powers_of_ten(*y), upright=True)
    ticks = nice_ticks(0, max(len(loss), 2) - 1, 4)
    axes.ticks(ticks, [f"{t:.0f}" for t in ticks], upright=False)
    made.text(box[0], box[1] + box[3] + 0.05, "loss above its phase's end", size=8.5)
    made.text(box[0] + box[2] / 2, box[1] - 0.2, "iteration", "ma")


def _stars(made: Canvas, fitted: Fitted, which: range, box: tuple[float, float, float, float], columns: int) -> None:
    rows: list[list[Floats]] = [[], [], []]
    for i in which:
        hidden = fitted.mask[i]
        with np.errstate(invalid="ignore", divide="ignore"):
            sigma = fitted.residuals[i] / fitted.noise[i]
        rows[0].append(intensity(fitted.data[i], float(np.median(fitted.noise[i])), hidden))
        rows[1].append(linear(fitted.noise[i]))
        rows[2].append(diverging(sigma, _LIMIT, hidden))
    blank = np.full_like(rows[0][0], 255)
    for row in rows:
        row += [blank] * (columns - len(row))
    tiles = mosaic(rows)
    made.picture(tiles.image, *box)
    left, bottom, width, height = box
    x_scale, y_scale = width / tiles.image.shape[1], height / tiles.image.shape[0]
    for j, i in enumerate(which):
        x = left + (tiles.column(j) + 0.5) * x_scale
        label = f"{fitted.names[i]}  {fitted.star_chi2[i]:.2f}"
        made.text(x, bottom + height + 0.04, label, "ms", 7.5)
    for i, label in enumerate(("data", "noise", f"residual\n± {_LIMIT:.0f} σ")):
        y = bottom + height - (tiles.row(i) + 0.5) * y_scale
        made.text(left - 0.07, y, label, "rm", 7.5)


def read_fitted(workdir: Path, payload: Payload) -> Fitted:
    """Read a PSF's file and its stars' stamps."""
    with h5py.File(workdir / payload.psf, "r") as file:
        ids = [s.decode() for s in file["fit/stars"][()]]
        residuals, outliers = file["fit/residuals"][()], file["fit/outliers"][()]
        star_chi2, loss = file["fit/star_chi2"][()], file["fit/loss_history"][()]
        full, factor = file["full_psf"][()], int(file["subsampling_factor"][()])
    found = read_stamps(workdir / payload.stamps, ids, wcs=False)
    n = len(ids)
    stamps = [found[i] for i in ids]
    mask = np.stack([s.mask > 0 for s in stamps])
    if outliers.shape[1:] == mask.shape[1:]:
        mask |= outliers[:n]
    return Fitted(
        names=[payload.names.get(i, i) for i in ids],
        data=np.stack([s.data for s in stamps]),
        noise=np.stack([s.noise for s in stamps]),
        mask=mask,
        residuals=residuals[:n] if len(residuals) else np.full(mask.shape, np.nan),
        star_chi2=star_chi2[:n] if len(star_chi2) else np.full(n, np.nan),
        loss=loss,
        full=full,
        subsampling=factor,
    )


def figures(workdir: Path, payload: Payload) -> Iterator[Canvas]:
    """Read a PSF and draw it."""
    yield draw(read_fitted(workdir, payload), payload.title)
