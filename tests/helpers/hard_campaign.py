"""A simulated campaign that is hard on purpose: whatever can be mistaken in its reduction changes its light curves.

Clouds take two thirds of the light or double it, the calibration is on the Vega system, the field lies across RA 0 and
nights across midnight UTC, stars move by a dozen pixels since the catalogue's epoch and twinkle, pixels are hot, the
detector saturates far below what its header says, and cosmic rays hit the targets.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from lcframework.testing.campaign.files import raw_header
from lcframework.testing.campaign.geometry import sidereal_angle, wrap, zenith
from lcframework.testing.campaign.observing import Conditions, observe
from lcframework.testing.campaign.project_file import project_toml
from lcframework.testing.campaign.render import RawFrame, render
from lcframework.testing.campaign.settings import CampaignSettings
from lcframework.testing.campaign.sky import TrueSky, make_catalog, make_sky

Array = NDArray[Any]

NIGHTS, IN_TURN = 16, (2, 3)  # frames a night, in turn
FIRST_NIGHT = 60557.0  # MJD, 2024-09-04; the target culminates an hour after midnight then, an hour before in the end
VEGA_MINUS_AB = -0.35  # mag
TWINKLING = 0.010  # relative: what every source scatters by in each frame, beyond its photons' noise
FAST_STARS = 5
RAYS = {4: "A", 13: "B", 22: "A", 31: "B"}  # frame: the source whose image a cosmic ray hits
LINEAR = 9000  # ADU: what the user says of the detector, whose header says 60 000
STAMP = 24  # pixels, of stars
RAY_CHARGE = 4000.0  # e- a pixel

SETTINGS = CampaignSettings(
    seed=73, name="HARD", ra=0.0015, dec=12.4, size=280, longitude=60.0, latitude=31.2, elevation=1800.0, band="V",
    target="double", lens_galaxies=0, stars=12, saturated_stars=0, faint_stars=4, field_galaxies=1, dither=3.5,
    rotation=1.2, hot_pixels=80, psf_varies=False, sky_gradient=0.02, instrument="HardCam",
)  # fmt: skip


@attrs.frozen(eq=False)
class TwinklingSky(TrueSky):
    """A sky whose sources scatter from frame to frame."""

    twinkling: float = 0.0

    def steady_magnitudes(self, mjd: float) -> Array:
        """Return the AB magnitudes outside of the atmosphere."""
        return TrueSky.magnitudes(self, mjd)

    def magnitudes(self, mjd: float) -> Array:
        """Return the AB magnitudes as they reach the telescope in the exposure about `mjd`."""
        rng = self.settings.random("twinkling", round(mjd * 1440))
        return self.steady_magnitudes(mjd) - 2.5 * np.log10(1 + self.twinkling * rng.normal(size=len(self.objects)))


@attrs.frozen(eq=False)
class Exposure:
    """The truth of one frame."""

    conditions: Conditions
    frame: RawFrame
    light: Array  # (ny, nx) e-/s, of all sources
    sky: Array  # (ny, nx) e-/s, with the pedestal
    ray: Array  # (ny, nx) bool: where the ray fell that was aimed at a source

    @property
    def key(self) -> str:
        """The frame's name in the products."""
        return Path(self.conditions.name).stem


@attrs.frozen(eq=False)
class HardCampaign:
    """A folder with raw frames and a project file, and the truth."""

    folder: Path
    sky: TwinklingSky
    catalog: Table
    exposures: list[Exposure]

    @property
    def coefficients(self) -> Array:
        """The frames' transparency relative to their median."""
        light = np.array([e.conditions.transparency for e in self.exposures])
        return np.asarray(light / np.median(light))

    @property
    def middle(self) -> Array:
        """The middle of the exposures, MJD (UTC)."""
        return np.array([e.conditions.mjd for e in self.exposures])

    @property
    def captured(self) -> Array:
        """Return the share of a star's light that falls into its stamp, for every exposure."""
        return np.array([_share_in_stamp(e.frame) for e in self.exposures])

    def row(self, name: str) -> int:
        """Return the row of a source in the true sky."""
        return int(np.flatnonzero(self.sky.objects["name"] == name)[0])

    def steady_flux(self, name: str) -> Array:
        """Return a source's flux in every exposure, e-/s at transparency 1, without its twinkling."""
        magnitude = np.array([self.sky.steady_magnitudes(t)[self.row(name)] for t in self.middle])
        return np.asarray(10 ** (0.4 * (SETTINGS.zeropoint - magnitude)))

    def detected_flux(self, name: str) -> Array:
        """Return the flux that arrived in each exposure, e-/s, through clouds and with its twinkling."""
        magnitude = np.array([self.sky.magnitudes(t)[self.row(name)] for t in self.middle])
        light = np.array([e.conditions.transparency for e in self.exposures])
        return np.asarray(light * 10 ** (0.4 * (SETTINGS.zeropoint - magnitude)))


def _share_in_stamp(frame: RawFrame) -> float:
    """Return the share of the light that falls into stamps of a frame's stars; all have the same PSF."""
    shares = []
    for star in frame.drawn.values():
        rows, columns = (np.arange(w.start, w.stop) for w in star.where)
        near = (abs(rows - star.y)[:, None] < STAMP / 2) & (abs(columns - star.x) < STAMP / 2)
        shares.append(float(star.image[near].sum()))
    return float(np.median(shares))


def simulate_hard_campaign(folder: Path) -> HardCampaign:
    """Write the campaign's raw frames, catalogue and project file."""
    (folder / "raw").mkdir(parents=True)
    sky = _sky()
    catalog = _vega_catalog(sky)
    catalog.write(folder / "stars.ecsv")
    (folder / "project.toml").write_text(_project(sky))
    exposures = [_exposure(folder, sky, c) for c in _conditions()]
    return HardCampaign(folder, sky, catalog, exposures)


def _sky() -> TwinklingSky:
    """Return a sky some of whose stars are fast."""
    objects = make_sky(SETTINGS).objects
    rng = SETTINGS.random("fast stars")
    reference = np.flatnonzero(objects["role"] == "reference")[:FAST_STARS]
    angle = rng.uniform(0, 2 * np.pi, FAST_STARS)
    speed = rng.uniform(200, 320, FAST_STARS)  # mas / yr: 8 to 13 pixels in 8.7 years
    objects["pmra"][reference] = speed * np.cos(angle)
    objects["pmdec"][reference] = speed * np.sin(angle)
    return TwinklingSky(SETTINGS, objects, TWINKLING)


def _vega_catalog(sky: TrueSky) -> Table:
    catalog = make_catalog(sky)
    catalog["r_mag"] += VEGA_MINUS_AB
    catalog.rename_columns(["r_mag", "r_mag_err"], ["V_mag", "V_mag_err"])
    return catalog


def _project(sky: TrueSky) -> str:
    """Return the project file: magnitudes on the Vega system, hot pixels looked for."""
    text = project_toml(sky)
    changes = {
        'band = "r_sdss"': 'band = "V"',
        'system = "AB"': 'system = "Vega"\ncolumns = { magnitude = "{band}_mag", magnitude_error = "{band}_mag_err" }',
        "[run]": f'[stamps]\nhot_pixels = "auto"\nsaturation = {LINEAR}\n\n[roi_model]\nplugin = "joint"\n\n[run]\n'
        "workers = 1",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


def _conditions() -> list[Conditions]:
    """Return the conditions of all frames, in the order of time."""
    rng = SETTINGS.random("hard nights")
    frames = [n for n in range(NIGHTS) for _ in range(IN_TURN[n % len(IN_TURN)])]
    half = len(frames) // 2
    light = rng.permutation(0.5 * np.concatenate([np.geomspace(0.3, 1, half), np.geomspace(1, 2, len(frames) - half)]))
    return [
        _at(observe(SETTINGS, i), _start(rng, night, frames[:i].count(night)), float(light[i]))
        for i, night in enumerate(frames)
    ]


def _start(rng: np.random.Generator, night: int, turn: int) -> float:
    """Return the start of an exposure, MJD: the first of a night in the evening, others some hours after culmination.

    Nights are two days apart, and a bit more or less.
    """
    local_midnight = FIRST_NIGHT + 2 * night + 1 - SETTINGS.longitude / 360
    culmination = wrap(SETTINGS.ra - sidereal_angle(local_midnight, SETTINGS.longitude)) / 15.04107  # h
    hours = max(culmination - 4.2, -4.6) if turn == 0 else culmination + 2.0 + turn
    return float(local_midnight + (hours + rng.uniform(0, 0.3)) / 24)


def _at(usual: Conditions, start: float, transparency: float) -> Conditions:
    middle = start + 0.5 * SETTINGS.exptime / 86400
    hour_angle = wrap(sidereal_angle(middle, SETTINGS.longitude) - SETTINGS.ra)
    distance, parallactic = zenith(hour_angle, SETTINGS.dec, SETTINGS.latitude)
    return attrs.evolve(
        usual, mjd_start=start, zenith_distance=distance, parallactic=parallactic, transparency=transparency
    )


def _exposure(folder: Path, sky: TwinklingSky, conditions: Conditions) -> Exposure:
    frame = render(sky, conditions)
    ray = _aimed_ray(frame, sky, conditions)
    added = np.where(ray, round(RAY_CHARGE / SETTINGS.gain), 0)
    counts = np.minimum(frame.counts + added, int(SETTINGS.saturation)).astype(np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits.PrimaryHDU(counts, raw_header(conditions)).writeto(folder / "raw" / conditions.name)
    background = _sky_of(conditions)
    light = frame.expected / SETTINGS.exptime - background
    pedestal = SETTINGS.pedestal * SETTINGS.gain / SETTINGS.exptime
    return Exposure(conditions, frame, light, background + pedestal, ray)


def _sky_of(conditions: Conditions) -> Array:
    """Return the sky's light, e-/s a pixel."""
    u = np.linspace(-1.0, 1.0, SETTINGS.size)
    gx, gy, curved = conditions.gradient
    return np.asarray(conditions.sky * (1 + gx * u + gy * u[:, None] + curved * (u**2 + u[:, None] ** 2 - 0.667)))


def _aimed_ray(frame: RawFrame, sky: TrueSky, conditions: Conditions) -> Array:
    """Return the pixels of a ray of five pixels that passes its source at a distance of six."""
    ray = np.zeros(frame.counts.shape, bool)
    if conditions.index in RAYS:
        at = frame.drawn[int(np.flatnonzero(sky.objects["name"] == RAYS[conditions.index])[0])]
        x, y = round(at.x) + 6, round(at.y) - 2
        ray[y : y + 5, x] = True
    return ray
