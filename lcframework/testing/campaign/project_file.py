"""The project.toml that a simulated campaign comes with, and one that leaves all settings to the frames."""

from __future__ import annotations

from lcframework.testing.campaign.settings import CampaignSettings
from lcframework.testing.campaign.sky import TrueSky

TEMPLATE = """\
# A simulated campaign: everything that is true of it lies in truth/.

[project]
name = "{name}"
workdir = "."

[frames]
raw_dirs = ["raw"]

[header]
plugin = "fits"

[telescope]
name = "{telescope}"
imager = "{instrument}"
latitude = {latitude}
longitude = {longitude}
elevation = {elevation}

[roi.{name}]
ra = {ra:.7f}
dec = {dec:.7f}
exclusion_radius = 3.5
[roi.{name}.point_sources]                   # as measured by eye in the best frame
{sources}

[plate_solving]
plugin = "existing"
pixel_scale = [{low:.3f}, {high:.3f}]

[stars]
plugin = "file"
radius = {radius:.0f}.0                      # arcsec
magnitude = [16.0, 20.0]
[stars.file]
path = "stars.ecsv"

[calibration]
plugin = "{calibration}"
band = "r_sdss"
{file}
[run]
offline = true
"""

FILE_TABLE = """\
[calibration.file]
path = "stars.ecsv"
system = "AB"
"""

UNTUNED = """\
[telescope]
latitude = {latitude}
longitude = {longitude}
[roi.{name}]
ra = {ra}
dec = {dec}
[roi.{name}.point_sources]
A = [{ra}, {dec}]
[stars]
plugin = "file"
[calibration]
plugin = "file"
band = "r_sdss"
[calibration.file]
system = "AB"
[run]
offline = true
"""


def untuned_toml(settings: CampaignSettings, workers: int = 0) -> str:
    """Return what an observer writes who has never seen the frames of a single target: where and what, and not how.

    Parameters
    ----------
    settings : CampaignSettings
        Give the telescope's site and the target's place.
    workers : int
        As ``[run] workers``; 0: left out.
    """
    text = UNTUNED.format(
        name=settings.name, latitude=settings.latitude, longitude=settings.longitude, ra=settings.ra, dec=settings.dec
    )
    return f"{text}workers = {workers}\n" if workers else text


def project_toml(sky: TrueSky) -> str:
    """Return the text of a project file for these settings; point sources are 20 mas off, as when measured by eye."""
    settings = sky.settings
    rng = settings.random("clicks")
    lines = []
    for row in sky.objects[sky.objects["kind"] == "target"]:
        ra, dec = rng.normal([row["ra"], row["dec"]], 0.02 / 3600.0)
        lines.append(f"{row['name']} = [{ra:.7f}, {dec:.7f}]")
    return TEMPLATE.format(
        name=settings.name,
        telescope=settings.telescope,
        instrument=settings.instrument,
        latitude=settings.latitude,
        longitude=settings.longitude,
        elevation=settings.elevation,
        ra=settings.ra,
        dec=settings.dec,
        sources="\n".join(lines),
        low=0.95 * settings.pixel_scale,
        high=1.05 * settings.pixel_scale,
        radius=min(300.0, 0.75 * settings.size * settings.pixel_scale),
        calibration=settings.calibration,
        file=FILE_TABLE if settings.calibration == "file" else "",
    )
