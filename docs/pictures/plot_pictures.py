"""Which plot of which campaign is which picture of `plots.md`: each kind as it should be, and with a fault."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing

import report_pictures
from PIL import Image
from small_files import without_margin

from lcframework import Project
from lcframework.testing.campaign import read_truth

Picture = Callable[[Project], Image.Image]


def _plot(pattern: str, tallest: float = 1.0) -> Picture:
    """Return the first plot whose path in ``plots/`` matches; of a tall one the upper part, heights over widths."""

    def take(project: Project) -> Image.Image:
        path = min((project.workdir / "plots").glob(pattern))
        with Image.open(path) as image:
            whole = without_margin(image.convert("RGB"))
            return whole.crop((0, 0, whole.width, min(whole.height, round(tallest * whole.width))))

    return take


def _worst_psf(project: Project) -> Image.Image:
    """Return the plot of the PSF that describes its stars worst."""
    with closing(sqlite3.connect(project.workdir / "database.sqlite3")) as database:
        key, _ = database.execute("select key, max(chi2) from PSFs join frames on frames.id = frame_id").fetchone()
    return _plot(f"PSFs/{key}_*.jpg", 0.45)(project)


def _panel(panel: str, index: int = 0, selector: str = "figure", width: int = 820) -> Picture:
    """Return an element of a panel of the report."""

    def take(project: Project) -> Image.Image:
        report = project.workdir / "report" / "index.html"
        return without_margin(report_pictures.element(report, panel, selector, index, width))

    return take


def _star(role: str) -> Picture:
    """Return the photometry plot of the first reference star that the simulator gave a role."""

    def take(project: Project) -> Image.Image:
        objects, stars = read_truth(project.workdir).objects, project.stars()
        letters = dict(zip(map(str, stars["gaia_id"]), map(str, stars["name"]), strict=True))
        named = [letters[str(name)] for name in objects["name"][objects["role"] == role] if str(name) in letters]
        return _plot(f"star_photometry/*_{named[0]}.jpg")(project)

    return take


#: Name: (campaign, what is taken of it).
PLOT_PICTURES: Mapping[str, tuple[str, Picture]] = {
    "sources_good": ("good", _plot("sources/quad_0006.jpg")),
    "sources_bad": ("optics", _plot("sources/quad_0002.jpg")),
    "footprints_good": ("good", _plot("footprints_with_gaia_stars.jpg")),
    "footprints_bad": ("pointing", _plot("footprints_with_gaia_stars.jpg")),
    "psf_good": ("good", _plot("PSFs/quad_0006_*.jpg", 0.45)),
    "psf_bad": ("optics", _worst_psf),
    "star_good": ("good", _plot("star_photometry/*_a.jpg")),
    "star_bad": ("stars", _star("double")),
    "normalization_good": ("good", _plot("normalization/*.jpg")),
    "normalization_bad": ("weather", _plot("normalization/*.jpg")),
    "roi_good": ("good", _plot("ROI/*.jpg")),
    "roi_bad": ("missing", _plot("ROI/*.jpg")),
    "light_curves_good": ("good", _plot("light_curves/*.png")),
    "light_curves_bad": ("weather", _plot("light_curves/*.png")),
    "tiles_good": ("good", _panel("Can it be believed?", selector="ul.tiles")),
    "tiles_bad": ("gain", _panel("Can it be believed?", selector="ul.tiles")),
    "doubts_bad": ("gain", _panel("Can it be believed?", selector=".scroll")),
    "scatter_good": ("good", _panel("Comparison stars", 0)),
    "scatter_bad": ("stars", _panel("Comparison stars", 0)),
    "pulls_good": ("good", _panel("Comparison stars", 1)),
    "pulls_bad": ("stars", _panel("Comparison stars", 1)),
    "pull_map_good": ("good", _panel("Comparison stars", 2)),
    "pull_map_bad": ("stars", _panel("Comparison stars", 2)),
    "coefficients_good": ("good", _panel("Normalization")),
    "coefficients_bad": ("weather", _panel("Normalization")),
    "conditions_good": ("good", _panel("Observing conditions")),
    "conditions_bad": ("weather", _panel("Observing conditions")),
    "chi2_good": ("good", _panel("Do the fits describe the pixels?")),
    "chi2_bad": ("optics", _panel("Do the fits describe the pixels?")),
    "zeropoint_good": ("good", _panel("Zero point")),
    "zeropoint_bad": ("stars", _panel("Zero point")),
    "registration_good": ("good", _panel("Astrometry and registration")),
    "registration_bad": ("pointing", _panel("Astrometry and registration")),
}
