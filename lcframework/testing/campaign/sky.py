"""The true sky of a simulated campaign: a lensed quasar, its galaxy, stars, field galaxies, and how they vary."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from lcframework.testing.campaign.geometry import offset_to_sky
from lcframework.testing.campaign.observing import observe
from lcframework.testing.campaign.settings import CampaignSettings

Array = NDArray[np.floating[Any]]

REF_EPOCH = 2016.0
MJD_OF_REF_EPOCH = 57388.5

# name: (arcsec east, arcsec north, AB magnitude, delay in days)
IMAGES = {
    "quad": {
        "A": (0.58, 0.30, 18.5, 0.0),
        "B": (-0.40, 0.62, 18.9, 6.0),
        "C": (-0.62, -0.28, 19.1, 11.0),
        "D": (0.30, -0.50, 19.6, 23.0),
    },
    "double": {"A": (0.62, 0.35, 18.6, 0.0), "B": (-0.38, -0.30, 19.6, 17.0)},
    "single": {"A": (0.0, 0.0, 18.6, 0.0)},
}
QUASAR_COLOUR = 0.6
PERIODS = np.array([13.0, 29.0, 47.0, 110.0])  # days, of the quasar's own variation
AMPLITUDES = np.array([0.03, 0.05, 0.06, 0.10])  # mag
MICROLENSING_PERIOD = 400.0  # days
MICROLENSING_AMPLITUDE = 0.05  # mag

# r - G of stars as a polynomial of BP - RP: Gaia DR3 documentation, table 5.7, with the sign of G - r turned.
R_MINUS_G = -np.array([-0.09837, 0.08592, 0.1907, -0.1701, 0.02263])


@attrs.frozen(eq=False)
class TrueSky:
    """The true sky: all objects and their variability.

    `objects` has one row for each object: ``name, kind`` (target, galaxy or star), ``role`` (target, lens, reference,
    saturated, faint or field; for objects that cause problems: double, companion, mimic, edge and neighbour), ``ra,
    dec`` (degrees at J2016.0), ``pmra, pmdec`` (mas / yr), ``mag`` (AB, mean), ``colour`` (BP - RP), ``variable``, and
    for galaxies ``sersic_n, radius`` (arcsec), ``axis_ratio, angle`` (degrees from x).
    """

    settings: CampaignSettings
    objects: Table

    @property
    def targets(self) -> list[str]:
        """Names of the region's point sources."""
        return [str(n) for n in self.objects["name"][self.objects["kind"] == "target"]]

    def positions(self, mjd: float) -> tuple[Array, Array]:
        """Return ra, dec in degrees at a date; the target is in its place in the first frame."""
        years = (mjd - MJD_OF_REF_EPOCH) / 365.25
        dec = np.asarray(self.objects["dec"])
        ra = np.asarray(self.objects["ra"] + self.objects["pmra"] * years / 3.6e6 / np.cos(np.radians(dec)))
        dec = dec + np.asarray(self.objects["pmdec"]) * years / 3.6e6
        if any(self.settings.target_motion):
            hours = (mjd - observe(self.settings, 0).mjd) * 24.0
            moving = np.asarray(self.objects["kind"] == "target")
            east, north = (rate * hours for rate in self.settings.target_motion)
            ra[moving], dec[moving] = offset_to_sky(ra[moving], dec[moving], east, north)
        return ra, dec

    def magnitudes(self, mjd: float) -> Array:
        """Return the true AB magnitude of every object at a date."""
        magnitude = np.array(self.objects["mag"], float)
        images = IMAGES[self.settings.target]
        for i, name in enumerate(images):
            delay = images[name][3]
            magnitude[i] += self.settings.variation * self._quasar(mjd - delay) + self._microlensing(i, mjd)
        for star in np.flatnonzero(self.objects["variable"]).tolist():
            phase = self.settings.random("variable star", star).uniform(0, 2 * np.pi)
            magnitude[star] += self.settings.variable_amplitude * np.sin(2 * np.pi * mjd / 3.7 + phase)
        return magnitude

    def _quasar(self, mjd: float) -> float:
        phase = self.settings.random("quasar").uniform(0, 2 * np.pi, PERIODS.size)
        return float(np.sum(AMPLITUDES * np.sin(2 * np.pi * mjd / PERIODS + phase)))

    def _microlensing(self, image: int, mjd: float) -> float:
        phase = self.settings.random("microlensing", image).uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * mjd / MICROLENSING_PERIOD + phase)
        return float(self.settings.variation * MICROLENSING_AMPLITUDE * wave)


def make_sky(settings: CampaignSettings) -> TrueSky:
    """Return the sky of these settings."""
    rows = [*_target_rows(settings), *_star_rows(settings), *_field_galaxy_rows(settings), *_trouble_rows(settings)]
    table = Table(rows=rows)
    ra, dec = offset_to_sky(settings.ra, settings.dec, table["xi"], table["eta"])
    table["ra"], table["dec"] = ra, dec
    table.remove_columns(["xi", "eta"])
    return TrueSky(settings, table)


def _row(name: str, kind: str, role: str, xi: float, eta: float, mag: float, colour: float, **more: Any) -> Any:
    row = dict(name=name, kind=kind, role=role, xi=float(xi), eta=float(eta), mag=float(mag), colour=float(colour))
    none = dict(pmra=0.0, pmdec=0.0, variable=False, sersic_n=0.0, radius=0.0, axis_ratio=1.0, angle=0.0)
    return row | none | more


def _target_rows(settings: CampaignSettings) -> list[Any]:
    rows = [
        _row(name, "target", "target", xi, eta, mag, QUASAR_COLOUR)
        for name, (xi, eta, mag, _) in IMAGES[settings.target].items()
    ]
    dx, dy = settings.galaxy_offset
    shapes = [
        (dx, dy, 18.7, dict(sersic_n=4.0, radius=0.8, axis_ratio=0.78, angle=35.0)),
        (dx - 1.5, dy + 1.1, 20.3, dict(sersic_n=1.5, radius=0.45, axis_ratio=0.6, angle=110.0)),
    ]
    for i, (xi, eta, mag, shape) in enumerate(shapes[: settings.lens_galaxies]):
        rows.append(_row(f"lens{i + 1}", "galaxy", "lens", xi, eta, mag, 1.7, **shape))
    return rows


def _star_rows(settings: CampaignSettings) -> list[Any]:
    """Return the stars: references apart from each other and from the target, faint ones at random positions."""
    half = 0.5 * settings.size * settings.pixel_scale
    inner = max(half - 2.5 * settings.dither - 6.0, 0.6 * half)
    taken = [(0.0, 0.0)]
    rows = []
    plans = [
        ("reference", settings.stars, inner, (16.2, 19.6), 5.0),
        ("saturated", settings.saturated_stars, inner, (12.8, 14.2), 12.0),
        ("faint", settings.faint_stars, half + 2.0 * settings.dither, (19.6, 23.5), 2.0),
    ]
    for role, number, extent, (bright, faint), apart in plans:
        rng = settings.random(role)
        for i in range(number):
            xi, eta = _free_position(rng, extent, taken, apart)
            taken.append((xi, eta))
            mag = bright + (faint - bright) * rng.uniform() ** 0.7
            colour = float(np.clip(rng.normal(1.25, 0.45), 0.45, 2.7))
            pmra, pmdec = rng.normal(0.0, 6.0, 2) * settings.proper_motions
            if role == "reference" and i == 1:  # one nearby star that moves by pixels
                pmra, pmdec = 95.0 * settings.proper_motions, -150.0 * settings.proper_motions
            varies = role == "reference" and i >= number - settings.variable_stars
            name = str(5_460_000_000_000_000_000 + int(rng.integers(10**15)))
            rows.append(
                _row(name, "star", role, xi, eta, mag, colour, pmra=float(pmra), pmdec=float(pmdec), variable=varies)
            )
    return rows


def _free_position(rng: Any, extent: float, taken: list[tuple[float, float]], apart: float) -> tuple[float, float]:
    """Draw a position at least `apart` arcsec from others, twice that from the target; less in a crowded field."""
    others = np.array(taken)
    least = np.full(len(others), apart)
    least[0] = 2.0 * apart
    for _ in range(200):
        xi, eta = rng.uniform(-extent, extent, 2)
        if np.all(np.hypot(others[:, 0] - xi, others[:, 1] - eta) > least):
            break
    return float(xi), float(eta)


def _field_galaxy_rows(settings: CampaignSettings) -> list[Any]:
    rng = settings.random("field galaxies")
    half = 0.5 * settings.size * settings.pixel_scale
    rows = []
    for i in range(settings.field_galaxies):
        xi, eta = _free_position(rng, half, [(0.0, 0.0)], 5.0)
        shape = dict(
            sersic_n=float(rng.choice([1.0, 1.5, 2.5, 4.0])),
            radius=float(rng.uniform(0.4, 1.4)),
            axis_ratio=float(rng.uniform(0.35, 0.95)),
            angle=float(rng.uniform(0.0, 180.0)),
        )
        mag = rng.uniform(18.3, 21.8)
        rows.append(_row(f"galaxy{i + 1}", "galaxy", "field", xi, eta, mag, rng.uniform(0.8, 1.8), **shape))
    return rows


def _trouble_rows(settings: CampaignSettings) -> list[Any]:
    """Return catalogue objects that are no good reference stars: doubles, galaxies, stars at the edge."""
    half = 0.5 * settings.size * settings.pixel_scale
    rng = settings.random("trouble")
    others = [(r["xi"], r["eta"]) for r in (*_star_rows(settings), *_field_galaxy_rows(settings)) if r["mag"] < 20.5]
    taken = [(0.0, 0.0), *others]
    rows = []
    for role, number in (("double", settings.double_stars), ("mimic", settings.mimic_galaxies),
                         ("edge", settings.edge_stars)):  # fmt: skip
        for i in range(number):
            xi, eta = _free_position(rng, 0.7 * half, taken, 7.0)
            if role == "edge":
                xi = (half - 1.5) * (-1) ** i
            taken.append((xi, eta))
            mag, colour = rng.uniform(17.2, 18.2), float(rng.uniform(0.8, 1.8))
            name = str(5_462_000_000_000_000_000 + int(rng.integers(10**15)))
            if role == "mimic":
                shape = dict(sersic_n=1.5, radius=0.5, axis_ratio=0.8, angle=float(rng.uniform(0.0, 180.0)))
                rows.append(_row(name, "galaxy", role, xi, eta, mag, colour, **shape))
            else:
                rows.append(_row(name, "star", role, xi, eta, mag, colour))
            if role == "double":
                angle = rng.uniform(0.0, 2.0 * np.pi)
                position = xi + 0.9 * np.cos(angle), eta + 0.9 * np.sin(angle)
                rows.append(_row(f"companion{i + 1}", "star", "companion", *position, mag + 1.2, colour))
    for _ in range(settings.bright_neighbours):
        angle, distance = rng.uniform(0.0, 2.0 * np.pi), settings.neighbour_distance
        position = distance * np.cos(angle), distance * np.sin(angle)
        name = str(5_463_000_000_000_000_000 + int(rng.integers(10**15)))
        rows.append(_row(name, "star", "neighbour", *position, settings.neighbour_magnitude, 1.2))
    return rows


def make_catalog(sky: TrueSky) -> Table:
    """Return a Gaia-like table of the sky, with measured (noisy) magnitudes, positions and proper motions.

    It contains stars to G of about 20.7, the quasar's images, and the most compact field galaxies, as real catalogues
    do, with a large ``astrometric_excess_noise``. ``r_mag`` is a calibrated AB magnitude.
    """
    objects = sky.objects
    rng = sky.settings.random("catalogue")
    noise = rng.normal(size=(10, len(objects)))
    order = np.polynomial.polynomial.polyval(np.asarray(objects["colour"]), R_MINUS_G)
    r = np.asarray(objects["mag"], float)
    g = r - order + 0.02 * noise[0]
    faintness = 10 ** (0.2 * (g - 18.0))
    error = np.hypot(0.008, 0.012 * faintness**2)
    extended = objects["kind"] == "galaxy"
    colour_error = 0.01 * faintness
    bp = g + 0.62 * objects["colour"] - 0.15 + colour_error * noise[1]
    rp = bp - objects["colour"] + colour_error * noise[2]
    mimic = objects["role"] == "mimic"
    excess = np.where(extended & ~mimic, 9.0 + 6.0 * np.abs(noise[3]), 0.25 * np.abs(noise[3]))
    excess[objects["kind"] == "target"] = 2.0 + np.abs(noise[3][objects["kind"] == "target"])
    table = Table()
    table["source_id"] = [_identity(str(n), i) for i, n in enumerate(objects["name"])]
    table["ra"] = objects["ra"] + 0.1 / 3.6e6 * faintness * noise[4] / np.cos(np.radians(objects["dec"]))
    table["dec"] = objects["dec"] + 0.1 / 3.6e6 * faintness * noise[5]
    table["ref_epoch"] = REF_EPOCH
    table["pmra"] = objects["pmra"] + 0.1 * faintness * noise[6]
    table["pmdec"] = objects["pmdec"] + 0.1 * faintness * noise[7]
    table["phot_g_mean_mag"] = g
    table["phot_bp_mean_mag"] = bp
    table["phot_rp_mean_mag"] = rp
    table["phot_g_mean_flux_over_error"] = 2000.0 / faintness**2
    table["astrometric_excess_noise"] = excess
    table["r_mag"] = r + error * noise[8]
    table["r_mag_err"] = error
    for name, unit in dict(ra="deg", dec="deg", ref_epoch="yr", pmra="mas/yr", pmdec="mas/yr").items():
        table[name].unit = unit
    for name in ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "r_mag", "r_mag_err"):
        table[name].unit = "mag"
    elsewhere = (objects["kind"] == "target") & any(sky.settings.target_motion)  # when the catalogue was made
    compact = ~extended | ((objects["role"] == "field") & (objects["radius"] < 0.7)) | mimic
    return table[compact & ~elsewhere & (objects["role"] != "companion") & (g < 20.7)]


def _identity(name: str, index: int) -> str:
    return name if name.isdigit() else str(5_461_000_000_000_000_000 + index)
