"""The frames of solvers.py: real ones with the Tycho-2 stars of their field, and simulated ones with their true WCS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework.sky.geometry import at_epoch
from lcframework.testing.campaign import CampaignSettings
from lcframework.testing.campaign.observing import REFERENCE_COLOUR, Conditions, observe
from lcframework.testing.campaign.render import render
from lcframework.testing.campaign.sky import make_catalog, make_sky
from lcframework.types import SolveHint
from plugins_builtin.backgrounds.sep import SepBackground
from plugins_builtin.sources.sep import SepSources

PLACES = ((150.11, -28.31), (0.002, 12.0), (200.0, 89.5), (33.0, -89.5))
SIZE = 1000  # pixels
BEND = 1.4e-8  # of the heavy distortion: 5 pixels in the corners


@attrs.frozen(eq=False)
class Frame:
    """What is given to a solver, and what is known beside it."""

    name: str
    sky: int  # frames of one sky overlap
    sources: Table
    shape: tuple[int, int]
    hint: SolveHint  # with the catalogue's stars; `header` with a WCS where the frame came with one
    truth: Callable[[Any, Any], Any] | None = None  # (ra, dec) -> true pixels


@attrs.frozen(eq=False)
class Bent(Conditions):
    """Conditions under a camera that may mirror, and bend the field."""

    mirrored: bool = False
    bend: float = 0.0

    def pixels(self, ra: Any, dec: Any, colour: Any) -> Any:
        """Return where light falls, 0-based pixels."""
        x, y = Conditions.pixels(self, ra, dec, colour)
        half = 0.5 * (self.settings.size - 1)
        u, v = x - half, y - half
        stretch = 1.0 + self.bend * (u * u + v * v)
        x, y = half + u * stretch, half + v * stretch
        return (2 * half - x if self.mirrored else x), y

    def header(self) -> fits.Header:
        """Return the WCS that the frame comes with: a fraction of a pixel off, and without the distortion."""
        header = self.header_wcs().to_header()
        if self.mirrored:
            header["CRPIX1"] = self.settings.size + 1 - header["CRPIX1"]
            for keyword in ("PC1_1", "PC2_1"):
                header[keyword] = -header.get(keyword, 1.0 if keyword == "PC1_1" else 0.0)
        return header


def conditions(settings: CampaignSettings, index: int) -> Bent:
    """Return frame `index`: any rotation; every third one mirrored, every fifth cloudy, every fifth bent."""
    usual = observe(settings, index)
    given = {f.name: getattr(usual, f.name) for f in attrs.fields(Conditions)}
    given["rotation"] = (137.5 * index) % 360.0
    given["transparency"] *= 0.15 if index % 5 == 1 else 1.0
    return Bent(**given, mirrored=index % 3 == 2, bend=BEND if index % 5 == 3 else 0.0)


def simulated(number: int) -> list[Frame]:
    """Return frames of four skies in turn: an ordinary one, one over RA 0, and one near each pole."""
    skies = []
    for k, (ra, dec) in enumerate(PLACES):
        settings = CampaignSettings(
            seed=20 + k, size=SIZE, ra=ra, dec=dec, latitude=float(np.clip(dec, -80, 80)), stars=40, faint_stars=90,
            psf_varies=False, dither=20.0, refraction=0.0,
        )  # fmt: skip
        skies.append(make_sky(settings))
    return [_simulated(skies[i % len(skies)], i) for i in range(number)]


def _simulated(sky: Any, index: int) -> Frame:
    settings = sky.settings
    made = conditions(settings, index)
    counts = render(sky, made).counts.astype(np.float32)
    stars = make_catalog(sky)
    stars["magnitude"] = stars["phot_g_mean_mag"]
    epoch = [np.asarray(stars[c], float) for c in ("ra", "dec", "pmra", "pmdec", "ref_epoch")]
    stars["ra"], stars["dec"] = at_epoch(*epoch, made.mjd)
    hint = SolveHint(settings.ra, settings.dec, 0.05, (0.2, 0.22), header=made.header(), stars=stars)

    def truth(ra: Any, dec: Any) -> Any:
        return made.pixels(np.asarray(ra), np.asarray(dec), REFERENCE_COLOUR)

    sources = extract(counts, counts >= settings.saturation - 1)
    return Frame(made.name, index % len(PLACES), sources, counts.shape, hint, truth)


def real(folder: Path, number: int) -> list[Frame]:
    """Return some of the 142 frames of HAT-P-32, evenly through the night."""
    return list(_real(folder, number))


def _real(folder: Path, number: int) -> Iterator[Frame]:
    files = sorted((folder / "raw").glob("*.FITS"))
    stars = Table.read(folder / "tycho2_hatp32.ecsv")
    stars["magnitude"] = stars["vt_mag"]
    for path in files[:: max(1, len(files) // number)][:number]:
        image = fits.getdata(path).astype(np.float32)
        mask = image >= 4000
        mask[:9], mask[:, :4] = True, True
        yield Frame(
            path.name, 0, extract(image, mask), image.shape, SolveHint(31.04, 46.69, 1.0, (4.5, 6.0), stars=stars)
        )


def extract(image: Any, mask: Any) -> Table:
    """Return a frame's sources as the pipeline finds them."""
    sky, noise = SepBackground().estimate(image, mask)
    return SepSources(threshold=3.0, min_area=5).extract(image - sky, np.full(image.shape, noise**2, np.float32), mask)
