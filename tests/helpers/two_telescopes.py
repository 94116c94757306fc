"""Two simulated telescopes that see one sky in three bands: a project of two regions in one database.

WIDE writes the headers of the FITS standard and sees both regions in g and r. TINY has coarser pixels, another gain, is
turned by 117 degrees, writes headers of its own, and sees the western region alone, in r and i.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from lcframework.testing.campaign.files import raw_header
from lcframework.testing.campaign.geometry import offset_to_sky
from lcframework.testing.campaign.observing import Conditions, observe
from lcframework.testing.campaign.render import render
from lcframework.testing.campaign.settings import CampaignSettings
from lcframework.testing.campaign.sky import TrueSky, make_sky

RA, DEC = 150.1137, -28.3052
BANDS = ("g", "r", "i")
#: Magnitude minus that in r, for a BP - RP of 1.25 and a slope with it.
COLOURS = {"g": (0.55, 0.6), "r": (0.0, 0.0), "i": (-0.25, -0.3)}
#: Regions: arcsec east and north of (RA, DEC), and their point sources from there with r magnitude and BP - RP.
REGIONS = {
    "WEST": ((-13.0, 2.0), {"A": (0.0, 0.0, 17.6, 0.6), "B": (-1.3, 0.9, 18.6, 0.9)}),
    "EAST": ((13.0, -4.0), {"A": (0.4, -0.3, 18.0, 1.6)}),
}
#: A third source, within the western stamps of both telescopes: a neighbour, with a region of its own.
NEAR = ((-5.5, 3.0), {"N": (0.0, 0.0, 18.0, 1.0)})
SETTINGS = {
    "WIDE": dict(size=330, pixel_scale=0.25, gain=2.5, zeropoint=24.8, saturation=60000.0, read_noise=5.0,
                 latitude=-24.6272, longitude=-70.4042, elevation=2635.0, telescope="Large", instrument="WIDE"),
    "TINY": dict(size=200, pixel_scale=0.33, gain=0.9, zeropoint=23.9, saturation=64000.0, read_noise=8.0,
                 latitude=-31.27, longitude=149.07, elevation=1165.0, telescope="Small", instrument="Tiny Cam/2"),
}  # fmt: skip
TURNED = 117.0  # degrees, of TINY
POINTING = {"WIDE": (0.0, 0.0), "TINY": (-27.0, 2.0)}  # arcsec
GROUPS = {"WIDE": ("g", "r"), "TINY": ("r", "i")}
INSTRUMENT = {"WIDE": "Large-WIDE", "TINY": "Tiny Cam/2"}


@attrs.frozen(eq=False)
class BandSky(TrueSky):
    """The sky in one band."""

    def magnitudes(self, mjd: float) -> Any:
        """Return magnitudes in the settings' band; the regions' sources vary in phase in all of them."""
        objects = self.objects
        offset, slope = COLOURS[self.settings.band]
        mag = objects["mag"] + offset + slope * (objects["colour"] - 1.25)
        return np.asarray(mag + 0.15 * objects["varies"] * np.sin(mjd / 3.0 + np.arange(len(objects))))


def make_settings(telescope: str, band: str) -> CampaignSettings:
    """Return the settings of one telescope and band; its frames are pointed with the telescope's own centre."""
    ra, dec = (float(v) for v in offset_to_sky(RA, DEC, *POINTING[telescope]))
    return CampaignSettings(
        seed=11 + BANDS.index(band), name=f"{telescope}_{band}", ra=ra, dec=dec, band=band, exptime=120.0,
        target="single", variation=0.0, lens_galaxies=0, field_galaxies=0, cosmic_rays=0.0, bad_columns=0,
        dither=1.0, field_aberrations=0.0, psf_varies=False, refraction=0.0, wcs_error=0.05,
        seeing=(0.9, 1.15), **SETTINGS[telescope],
    )  # fmt: skip


def make_objects(near: bool) -> Table:
    """Return the objects: reference stars of the campaign's own recipe, and the regions' sources."""
    stars = make_sky(
        CampaignSettings(
            seed=5, ra=RA, dec=DEC, size=330, pixel_scale=0.25, dither=1.0, target="single", lens_galaxies=0, stars=22,
            saturated_stars=0, faint_stars=6, field_galaxies=0, proper_motions=False,
        )
    ).objects  # fmt: skip
    stars = stars[stars["kind"] == "star"]
    stars["varies"] = 0.0
    stars["mag"] = np.where(stars["role"] == "reference", 15.6 + 0.75 * (stars["mag"] - 16.2), stars["mag"])
    regions = {**REGIONS, **({"NEAR": NEAR} if near else {})}
    rows = []
    for roi, ((east, north), sources) in regions.items():
        for name, (dx, dy, mag, colour) in sources.items():
            ra, dec = (float(v) for v in offset_to_sky(RA, DEC, east + dx, north + dy))
            blank = {c: stars[c][0] for c in stars.colnames}
            rows.append(blank | dict(name=f"{roi}.{name}", kind="target", role="target", ra=ra, dec=dec, mag=mag,
                                     colour=colour, varies=1.0))  # fmt: skip
    away = np.ones(len(stars), bool)
    for row in rows:
        distance = np.hypot((stars["ra"] - row["ra"]) * np.cos(np.radians(DEC)), stars["dec"] - row["dec"]) * 3600
        away &= np.asarray(distance > 6.0)
    kept = stars[away]
    for row in rows:
        kept.add_row([row[c] for c in kept.colnames])
    return kept


def make_catalog(objects: Table) -> Table:
    """Return a table of stars with magnitudes in every band, good to 5 mmag."""
    stars = objects[objects["role"] == "reference"]
    rng = np.random.default_rng(8)
    table = Table({"source_id": [str(n) for n in stars["name"]], "ra": stars["ra"], "dec": stars["dec"]})
    table["ref_epoch"], table["pmra"], table["pmdec"] = 2016.0, 0.0, 0.0
    table["phot_g_mean_mag"] = stars["mag"]
    for band, (offset, slope) in COLOURS.items():
        noise = rng.normal(0, 0.005, len(stars))
        table[f"{band}_mag"] = stars["mag"] + offset + slope * (stars["colour"] - 1.25) + noise
        table[f"{band}_mag_err"] = 0.005
    return table


def _own_dialect(header: fits.Header, settings: CampaignSettings) -> fits.Header:
    """Return a header as TINY writes it: no keyword but those of the WCS is what the standard has."""
    out = fits.Header([c for c in header.cards if c.keyword[:2] in ("CR", "CT", "CU", "CD", "PC", "WC", "LO", "LA")])
    out["CAMERA"], out["GLASS"], out["SHUTTER"] = "tiny cam no. 2", f"Sloan {settings.band}", settings.exptime * 1000
    out["MIDTIME"] = header["MJD-OBS"] + 0.5 * settings.exptime / 86400 + 2400000.5
    return out


PARSER = """
def parse_header(header):
    if "CAMERA" not in header:
        return None
    return {
        "exptime": header["SHUTTER"] / 1000, "gain": 0.9, "mjd": header["MIDTIME"] - 2400000.5,
        "time_reference": "mid", "band": header["GLASS"].split()[1], "instrument": "Tiny Cam/2", "read_noise": 8.0,
        "saturation": 64000.0,
    }
"""

PROJECT = """
[project]
name = "two"
[header]
plugin = "auto"
[telescope]
latitude = -24.6272
longitude = -70.4042
elevation = 2635.0
{regions}
[plate_solving]
plugin = "existing"
pixel_scale = [0.24, 0.26]
[stars]
plugin = "file"
radius = 45.0
magnitude = [15.0, 19.5]
min_number = 4
[stars.file]
path = "stars.ecsv"
[calibration]
plugin = "file"
band = "r"
bands = {{ g = "g", i = "i" }}
[calibration.file]
path = "stars.ecsv"
columns = {{ magnitude = "{{band}}_mag", magnitude_error = "{{band}}_mag_err" }}
[stamps]
star_size = 24
roi_size = 28
[roi_model]
plugin = "joint"
[run]
offline = true
workers = 1

[instrument."Tiny Cam/2".telescope]
latitude = -31.27
longitude = 149.07
elevation = 1165.0
[instrument."Tiny Cam/2".plate_solving]
pixel_scale = [0.32, 0.34]
[instrument."Tiny Cam/2".stamps]
star_size = 20
roi_size = 22
[instrument."Tiny Cam/2".psf.starred]
subsampling_factor = 3
"""


def project_toml(near: bool) -> str:
    """Return the project file."""
    text = ""
    for roi, ((east, north), sources) in {**REGIONS, **({"NEAR": NEAR} if near else {})}.items():
        ra, dec = (float(v) for v in offset_to_sky(RA, DEC, east, north))
        text += f"[roi.{roi}]\nra = {ra:.7f}\ndec = {dec:.7f}\nexclusion_radius = 2.5\n[roi.{roi}.point_sources]\n"
        for name, (dx, dy, *_) in sources.items():
            ra, dec = (float(v) for v in offset_to_sky(RA, DEC, east + dx, north + dy))
            text += f"{name} = [{ra:.7f}, {dec:.7f}]\n"
    return PROJECT.format(regions=text)


def simulate(folder: Path, epochs: int, near: bool) -> Table:
    """Write the project, its frames and catalogue.

    Returns
    -------
    Table
        One row a frame and source: ``frame, instrument, band, mjd, airmass, name, mag``, ``flux`` (e-/s at transparency
        1) and ``transparency``.
    """
    (folder / "raw").mkdir(parents=True)
    (folder / "header_parser").mkdir()
    (folder / "header_parser" / "parse_header.py").write_text(PARSER)
    (folder / "project.toml").write_text(project_toml(near))
    objects = make_objects(near)
    make_catalog(objects).write(folder / "stars.ecsv")
    rows: list[dict[str, Any]] = []
    for telescope, bands in GROUPS.items():
        for band in bands:
            settings = make_settings(telescope, band)
            for index in range(epochs):
                rows += _frame(folder, telescope, BandSky(settings, objects), observe(settings, index))
    return Table(rows=rows)


def _frame(folder: Path, telescope: str, sky: BandSky, conditions: Conditions) -> list[dict[str, Any]]:
    if telescope == "TINY":
        conditions = attrs.evolve(conditions, rotation=conditions.rotation + TURNED)
    frame = render(sky, conditions)
    header = raw_header(conditions)
    if telescope == "TINY":
        header = _own_dialect(header, sky.settings)
    fits.PrimaryHDU(frame.counts, header).writeto(folder / "raw" / conditions.name)
    magnitudes = sky.magnitudes(conditions.mjd)
    return [
        {"frame": conditions.name, "instrument": INSTRUMENT[telescope], "band": sky.settings.band,
         "mjd": conditions.mjd, "airmass": conditions.airmass, "name": str(sky.objects["name"][i]),
         "mag": float(magnitudes[i]),
         "flux": float(10 ** (0.4 * (sky.settings.zeropoint - magnitudes[i]))),
         "transparency": conditions.transparency}
        for i in frame.drawn
    ]  # fmt: skip
