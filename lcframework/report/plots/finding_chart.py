"""``plots/finding_charts/<roi>.png``: a region and its comparison stars, north up, east to the left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from lcframework.report.plots import style
from lcframework.sky.geometry import local_map, sky_to_pixel
from lcframework.storage.frame_files import read_frame, read_wcs
from lcframework.types import Floats

_SIDE = 6.4  # inches
_LARGEST = 1400  # pixels across the shown part
_LEAST = 45.0  # arcsec: half the width of the smallest chart
#: From here on circles are smaller, so that they don't cover the field.
_MANY = 40
#: Where a label may be of its star, in half sizes of its circle: right and above.
_SIDES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.5), (0.0, -1.5), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0))
#: Parts of the chart (left, low, right, high; from -1 to 1) that are taken by other labels.
_RESERVED = ((-0.05, -0.05, 0.4, 0.14), (-1.0, -1.0, -0.35, -0.84), (0.66, -1.0, 1.0, -0.7))
_SCALES = (5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)  # arcsec


@attrs.frozen
class ChartStar:
    """A comparison star: identifier, letter, place in degrees at the frame's epoch, magnitude (nan: unknown)."""

    identifier: str
    name: str
    ra: float
    dec: float
    magnitude: float


@attrs.frozen
class Payload:
    """A region's place in degrees, its stars, the frame that is shown, and its noise in e-/s."""

    roi: str
    ra: float
    dec: float
    stars: tuple[ChartStar, ...]
    image: str
    wcs: str
    frame: str
    rms: float


@attrs.frozen(eq=False)
class Chart:
    """What is drawn; places are (x, y) pixels of the image.

    Attributes
    ----------
    image : (ny, nx) array
        e-/s.
    stars : (n, 2) array
        Where the stars are.
    target : (2,) array
        Where the region is.
    matrix : (2, 2) array
        From pixels to arcsec towards east and north, around the region.
    reach : float
        arcsec: half the width of the chart.
    """

    image: Floats
    stars: Floats
    target: Floats
    matrix: Floats
    reach: float


def read_chart(workdir: Path, payload: Payload) -> Chart:
    """Read the frame, and place the stars by its WCS with all its terms."""
    image, _, _ = read_frame(workdir / payload.image)
    wcs = read_wcs(workdir / payload.wcs)

    around = local_map(wcs, payload.ra, payload.dec)
    target, matrix = around[:, 2], np.linalg.inv(around[:, :2])
    places = sky_to_pixel(wcs, [s.ra for s in payload.stars], [s.dec for s in payload.stars])
    stars = np.stack(places, axis=1)
    stars[~np.isfinite(stars).all(axis=1)] = np.nan
    far = np.nanmax(np.abs((stars - target) @ matrix.T), initial=0.0)
    return Chart(image, stars, target, matrix, max(_LEAST, 1.12 * float(far)))


@style.styled
def draw(chart: Chart, payload: Payload) -> Figure:
    """Return the figure."""
    made = style.figure(_SIDE + 0.3, _SIDE + 0.72, f"{payload.roi}: finding chart")
    ax = style.axes(made, 0.15, 0.35, _SIDE, _SIDE)
    # Arcsec towards east and north, from the region.
    to_sky = Affine2D(np.block([[chart.matrix, -(chart.matrix @ chart.target)[:, None]], [np.zeros(2), np.ones(1)]]))
    corner, part = _cut(chart)
    factor = max(1, -(-max(part.shape) // _LARGEST))
    ny, nx = (n // factor for n in part.shape)
    small = part[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor).mean(axis=(1, 3))
    shown = np.arcsinh(small / (2.0 * payload.rms / factor))
    extent = (corner[0] - 0.5, corner[0] + nx * factor - 0.5, corner[1] - 0.5, corner[1] + ny * factor - 0.5)
    ax.imshow(
        shown, cmap="gray_r", vmin=-1.5, vmax=5.0, origin="lower", extent=extent, interpolation="antialiased",
        transform=to_sky + ax.transData,
    )  # fmt: skip
    reach = chart.reach
    ax.set_xlim(reach, -reach)
    ax.set_ylim(-reach, reach)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
    _target(ax, payload.roi, reach)
    _stars(ax, (chart.stars - chart.target) @ chart.matrix.T, payload.stars, reach)
    _scale_and_compass(ax, reach)
    w, h = made.get_size_inches()
    note = f"RA {payload.ra:.5f}°, Dec {payload.dec:+.5f}° (ICRS)   frame {payload.frame}"
    made.text(0.15 / w, 0.12 / h, note, fontsize=7.5, color="#3b4048")
    return made


def _cut(chart: Chart) -> tuple[tuple[int, int], Floats]:
    """Return the part of the image within the chart, and the pixel (x, y) of its corner."""
    inverse = np.linalg.inv(chart.matrix)
    corners = chart.reach * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) @ inverse.T + chart.target
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, np.array(chart.image.shape[::-1]) - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low + 1, chart.image.shape[::-1])
    return (int(low[0]), int(low[1])), chart.image[low[1] : high[1], low[0] : high[0]]


def _target(ax: Axes, name: str, reach: float) -> None:
    """Mark the region by two lines that leave it free."""
    near, far, colour = 0.03 * reach, 0.09 * reach, style.COLOURS[1]
    ax.plot([-near, -far], [0, 0], color=colour, lw=1.4)
    ax.plot([0, 0], [near, far], color=colour, lw=1.4)
    ax.text(
        -far, 1.1 * near, name, color=colour, weight="bold", ha="left", va="bottom", size=9,
        bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1},
    )  # fmt: skip


def _stars(ax: Axes, places: Floats, stars: Sequence[ChartStar], reach: float) -> None:
    size = 95 if len(stars) <= _MANY else 45
    ax.scatter(places[:, 0], places[:, 1], s=size, facecolors="none", edgecolors=style.COLOURS[0], linewidths=1.0)
    for star, label in labels(places, stars, reach).items():
        x, y = places[star]
        ax.text(
            x - label.right, y + label.above, label.text, color=style.COLOURS[0], size=8, weight="bold", va="center",
            ha="left" if label.right > 0 else ("right" if label.right < 0 else "center"),
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


@attrs.frozen
class Label:
    """What is written at a star, and by how many arcsec right of it and above it."""

    text: str
    right: float
    above: float


def labels(places: Floats, stars: Sequence[ChartStar], reach: float) -> dict[int, Label]:
    """Return labels by the star's index, bright stars first: name and magnitude, or the name where there is less room.

    A star has none where every side of it is taken: in a crowd, labels on labels tell nothing.

    Parameters
    ----------
    places : (n, 2) array
        arcsec towards east and north of the chart's middle.
    stars : sequence of ChartStar
        The stars.
    reach : float
        arcsec: half the width of the chart.
    """
    unit = reach / (_SIDE / 2 * 72)  # arcsec in a point
    tall, gap = 10.0 * unit, (8.0 if len(stars) <= _MANY else 6.0) * unit
    taken: list[tuple[float, ...]] = [(x - gap, y - gap, x + gap, y + gap) for x, y in places * [-1.0, 1.0]]
    # The target with its own label, the scale and the compass.
    taken += [tuple(reach * v for v in box) for box in _RESERVED]
    sides = [(dx * gap, dy * gap) for dx, dy in _SIDES]
    out = {}
    for i in sorted(range(len(stars)), key=lambda i: (not stars[i].magnitude < np.inf, stars[i].magnitude, i)):
        magnitude = f"  {stars[i].magnitude:.2f}" if np.isfinite(stars[i].magnitude) else ""
        for text, (dx, dy) in itertools.product(dict.fromkeys((stars[i].name + magnitude, stars[i].name)), sides):
            long = 5.4 * unit * len(text)
            left = -places[i, 0] + dx - (long if dx < 0 else (long / 2 if dx == 0 else 0.0))
            low = places[i, 1] + dy - tall / 2
            box = (left, low, left + long, low + tall)
            if max(abs(v) for v in box) <= reach and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                out[i] = Label(text, dx, dy)
                break
    return out


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _scale_and_compass(ax: Axes, reach: float) -> None:
    long, label = style.scale_bar(_SCALES, 0.5 * reach)
    left, low = 0.94 * reach, -0.93 * reach
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
    ax.plot([left, left - long], [low, low], color="black", lw=2.0, solid_capstyle="butt")
    ax.text(left - long / 2, low + 0.02 * reach, label, ha="center", va="bottom", size=8.5, bbox=box)
    x, y, arm = -0.86 * reach, -0.93 * reach, 0.14 * reach
    for dx, dy, name in ((arm, 0.0, "E"), (0.0, arm, "N")):
        ax.annotate("", (x + dx, y + dy), (x, y), arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 1.2})
        ax.text(x + 1.25 * dx, y + 1.25 * dy, name, ha="center", va="center", size=9, weight="bold", bbox=box)


def figures(workdir: Path, payload: Payload) -> Iterator[Figure]:
    """Read the frame and draw the chart."""
    yield draw(read_chart(workdir, payload), payload)
