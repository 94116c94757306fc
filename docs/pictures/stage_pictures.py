"""Small pictures of what stages leave on disk, read from a campaign's products as anyone would read them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import h5py
import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from lcframework import Project

SIDE = 176  # pixels
_BLUE = "#0072b2"
_HALF = 260  # pixels of a frame, from the middle of what is shown to its edge


def _rows(project: Project, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project.workdir / "database.sqlite3")) as database:
        return database.execute(sql, values).fetchall()


def _axes(margin: float = 0.0) -> tuple[Figure, Axes]:
    """Return a square figure: an image without a margin, a chart without numbers inside one."""
    made = Figure((SIDE / 100, SIDE / 100), dpi=100, facecolor="white")
    ax = made.add_axes((margin, margin, 1 - 1.6 * margin, 1 - 1.6 * margin))
    if margin:
        ax.tick_params(which="both", bottom=False, left=False, labelbottom=False, labelleft=False)
    else:
        ax.axis("off")
    return made, ax


def _pixels(made: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _stretched(image: NDArray, soft: float) -> NDArray:
    return np.arcsinh(np.nan_to_num(image) / soft)


def _part_of_frame(project: Project) -> tuple[Figure, Axes, str, NDArray]:
    """Draw the middle of the sharpest frame; return the figure, its axes, the frame's name and the lower left."""
    frames = project.frames()
    key = str(frames["key"][int(np.argmin(frames["seeing_pixels"]))])
    with fits.open(project.workdir / "frames" / f"{key}.fits") as hdus:
        image = next(h.data for h in hdus if h.data is not None and h.data.ndim == 2)
    corner = np.array(image.shape[::-1]) // 2 - _HALF
    made, ax = _axes()
    part = image[corner[1] : corner[1] + 2 * _HALF, corner[0] : corner[0] + 2 * _HALF]
    ax.imshow(_stretched(part, 0.6), origin="lower", cmap="magma", vmin=-0.6, vmax=5)
    return made, ax, key, corner


def _tiles(ax: Axes, images: NDArray) -> None:
    """Draw nine stretched images as a square."""
    ny, nx = images.shape[1:]
    tiles = np.full((3 * ny + 4, 3 * nx + 4), np.nan)
    for k, image in enumerate(images[:9]):
        i, j = divmod(k, 3)
        tiles[i * (ny + 2) : i * (ny + 2) + ny, j * (nx + 2) : j * (nx + 2) + nx] = image
    ax.imshow(tiles, origin="lower", cmap="magma", aspect="auto")


def frame(project: Project) -> Image.Image:
    """A part of an imported frame, its sources circled."""
    made, ax, key, corner = _part_of_frame(project)
    sources = Table.read(project.workdir / "frames" / f"{key}_sources.fits")
    x, y = sources["x"] - corner[0], sources["y"] - corner[1]
    ax.scatter(x, y, s=40, facecolors="none", edgecolors="#56b4e9", lw=0.9)
    ax.set(xlim=(0, 2 * _HALF - 1), ylim=(0, 2 * _HALF - 1))
    return _pixels(made)


def footprints(project: Project) -> Image.Image:
    """The outlines of all frames on the sky."""
    made, ax = _axes()
    for (text,) in _rows(project, "select polygon from footprints"):
        ra, dec = np.array(json.loads(text)).T
        ax.fill(-ra, dec, facecolor=_BLUE, alpha=0.03)
        ax.plot(-np.append(ra, ra[0]), np.append(dec, dec[0]), color=_BLUE, lw=0.6, alpha=0.6)
    region = next(iter(project.config.roi.values()))
    ax.plot(-region.ra, region.dec, "*", color="#d55e00", ms=9)
    return _pixels(made)


def stars(project: Project) -> Image.Image:
    """The same part of the frame with the reference stars named."""
    made, ax, key, corner = _part_of_frame(project)
    sql = (
        "select s.name, f.x, f.y from stars_in_frames f join stars s using (combined_footprint_hash, gaia_id) "
        "join frames on frames.id = f.frame_id where frames.key = ? and f.usable"
    )
    for name, x, y in _rows(project, sql, key):
        place = np.array([x, y]) - corner
        if np.all((place > 0) & (place < 2 * _HALF - 30)):
            ax.plot(*place, "o", ms=8, mfc="none", mec="#56b4e9", mew=1.1)
            ax.text(place[0] + 20, place[1] + 12, name, color="white", size=8)
    ax.set(xlim=(0, 2 * _HALF - 1), ylim=(0, 2 * _HALF - 1))
    return _pixels(made)


def stamps(project: Project) -> Image.Image:
    """Nine stars' stamps of one frame."""
    with h5py.File(project.workdir / "regions.h5") as file:
        data = next(iter(file["frames"].values()))["data"]
        found = [data[name][()] for name in data if name.isdigit()][:9]
    made, ax = _axes()
    _tiles(ax, np.array([_stretched(s, 0.03 * float(np.nanmax(s))) for s in found]))
    return _pixels(made)


def psf(project: Project) -> Image.Image:
    """The PSF of one frame, on its small pixels."""
    with h5py.File(project.workdir / "regions.h5") as file:
        group = next(iter(file["frames"].values()))
        image = next(g for name, g in group.items() if name.startswith("psf_"))["full_psf"][()]
    made, ax = _axes()
    ax.imshow(_stretched(image, 0.01 * float(image.max())), origin="lower", cmap="magma")
    return _pixels(made)


def fluxes(project: Project) -> Image.Image:
    """The fluxes of the brightest reference stars, frame by frame, before normalization."""
    sql = (
        "select gaia_id, frame_id, flux, flux_uncertainty from star_flux_in_frame where gaia_id in (select gaia_id "
        "from star_flux_in_frame group by gaia_id order by avg(flux) desc limit 9) order by frame_id"
    )
    rows = _rows(project, sql)
    made, ax = _axes(0.06)
    for name in dict.fromkeys(r[0] for r in rows):
        _, x, y, e = zip(*(r for r in rows if r[0] == name), strict=True)
        ax.errorbar(x, y, e, fmt="o-", ms=2.2, lw=0.6)
    ax.set_yscale("log")
    ax.tick_params(which="both", left=False, labelleft=False)
    return _pixels(made)


def coefficients(project: Project) -> Image.Image:
    """The frames' transparencies."""
    sql = "select frame_id, coefficient, coefficient_uncertainty from normalization_coefficients order by frame_id"
    x, y, e = zip(*_rows(project, sql), strict=True)
    made, ax = _axes(0.06)
    ax.errorbar(x, y, e, fmt="o-", ms=2.2, lw=0.6, color=_BLUE)
    return _pixels(made)


def zeropoint(project: Project) -> Image.Image:
    """Catalogue magnitudes against measured ones."""
    sql = "select l.level, c.mag from star_levels l join catalog_star_photometry c using (gaia_id) where l.level > 0"
    level, magnitude = np.array(_rows(project, sql)).T
    made, ax = _axes(0.06)
    ax.plot(-2.5 * np.log10(level), magnitude, "o", ms=3, color=_BLUE)
    return _pixels(made)


def cutouts(project: Project) -> Image.Image:
    """The region in nine epochs."""
    with h5py.File(next((project.workdir / "prepared_roi_cutouts").glob("cutouts_*.h5"))) as file:
        data, noise = file["data"][:9], float(np.median(file["noisemap"][:9]))
    made, ax = _axes()
    _tiles(ax, _stretched(data, 3 * noise))
    return _pixels(made)


def curves(project: Project) -> Image.Image:
    """The light curves of the region's point sources."""
    table = QTable.read(next((project.workdir / "prepared_roi_cutouts").glob("*_per_epoch.ecsv")))
    made, ax = _axes(0.06)
    for name in next(iter(project.config.roi.values())).point_sources:
        magnitude, error = (np.array(table[f"{name}_{of}"].value, float) for of in ("mag", "d_mag_down"))
        ax.errorbar(table["mjd"].value, magnitude, error, fmt="o", ms=2.2, lw=0.6)
    ax.invert_yaxis()
    return _pixels(made)


#: By stage: what makes its picture.
STAGE_PICTURES: Mapping[str, Callable[[Project], Image.Image]] = {
    "read_convert_skysub_character_catalog": frame,
    "calculate_common_and_total_footprint": footprints,
    "query_gaia_for_stars": stars,
    "stamp_extraction": stamps,
    "psf_modeling": psf,
    "star_photometry": fluxes,
    "calculate_normalization_coefficient": coefficients,
    "calculate_absolute_zeropoints": zeropoint,
    "prepare_calibrated_cutouts": cutouts,
    "model_calibrated_cutouts": curves,
}
