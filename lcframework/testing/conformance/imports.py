"""Checks of plugins for single frames: header parsers, sky models, source extractors, cosmic-ray maskers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits

from lcframework.protocols import BackgroundEstimator, CosmicMasker, HeaderParser, SourceExtractor
from lcframework.testing.conformance import scenes
from lcframework.testing.conformance.contract import (
    asked_twice,
    check_array,
    check_plugin_class,
    check_table,
    name_of,
    refused,
    require,
    same_values,
    unchanged,
)
from lcframework.testing.conformance.recorded_header import RecordedHeader
from lcframework.types import SOURCES, HeaderInfo

#: The values that the documented `parse_header` functions may return.
HEADER_KEYS = {attribute.name for attribute in attrs.fields(HeaderInfo)}


def example_header() -> fits.Header:
    """Return a header with standard keywords: 120 s from 2024-02-20T05:46:18.750 UTC on, gain 2.5, band r."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = True, 16, 2, 900, 800
    header["TELESCOP"], header["INSTRUME"], header["FILTER"] = "Example", "ExampleCam", "r"
    header["DATE-OBS"], header["TIMESYS"] = "2024-02-20T05:46:18.750", "UTC"
    header["EXPTIME"], header["GAIN"], header["RDNOISE"], header["SATURATE"] = 120.0, 2.5, 6.0, 60000.0
    return header


EXAMPLE_MJD = 60360.0 + (5 * 3600 + 46 * 60 + 18.75) / 86400.0


def check_header_parser(
    plugin: Any,
    header: fits.Header | None = None,
    path: Path = Path("example.fits"),
    expected: Mapping[str, Any] | None = None,
) -> None:
    """Check a header parser.

    A header from which one of the keywords that the parser asks for is missing must be read, declined or refused.

    Parameters
    ----------
    plugin : HeaderParser
        The plugin.
    header : fits.Header, optional
        A header of the parser's telescope; one with standard keywords where None.
    path : Path
        The path that is passed to the parser.
    expected : mapping, optional
        Attributes of :class:`~lcframework.types.HeaderInfo` and their values that the parser must read from `header`;
        ``mjd_start`` (d) is allowed too. Without a header of your own, and without this, the parser may decline.

    Raises
    ------
    AssertionError
    """
    check_plugin_class(plugin, HeaderParser)
    who = name_of(plugin)
    own = header is not None
    header = example_header() if header is None else header
    before = header.tostring()
    recorded = RecordedHeader(header)
    info = _read(plugin, recorded, path, who)
    require(recorded.tostring() == before, who, "changed the header; others read it too")
    require(not (own or expected) or info is not None, who, f"declined (None) the header that is its own, of {path}")
    for name, value in (expected or {}).items():
        given = getattr(info, name)
        near = np.isclose(given, value, rtol=1e-9, atol=1e-8) if isinstance(value, float) else given == value
        require(near, who, f"{name} is {given!r}, and {value!r} is expected")
    again = _read(plugin, header, path, who)
    require(info is again or same_values(info, again), who, "reads the same header differently the second time")
    for missing in recorded.asked_and_there():
        poor = header.copy()
        poor.remove(missing, ignore_missing=True, remove_all=True)
        refused(lambda poor=poor: _read(plugin, poor, path, who), who, f"a header without {missing}")  # type: ignore[misc]
    refused(lambda: _read(plugin, fits.Header(), path, who), who, "an empty header")


def _read(plugin: Any, header: fits.Header, path: Path, who: str) -> HeaderInfo | None:
    answer = plugin.parse(header, path)
    if answer is None or isinstance(answer, HeaderInfo):
        return answer
    require(
        isinstance(answer, Mapping), who, f"parse returned a {type(answer).__name__}, not a HeaderInfo, dict or None"
    )
    missing = {"exptime", "gain", "mjd"} - set(answer)
    require(not missing, who, f"the dict that parse returned lacks {', '.join(sorted(missing))}")
    unknown = set(answer) - HEADER_KEYS
    require(not unknown, who, f"the dict that parse returned has unknown keys: {', '.join(sorted(unknown))}")
    return HeaderInfo(**answer)


def check_background_estimator(plugin: Any, seed: int = 1) -> None:
    """Check a sky model on stars over a sloping sky, with bad pixels that contain invalid values and nan.

    The sky must be right to a third of the noise of a pixel (median) and to one and a half everywhere; the rms to 25 %.
    """
    check_plugin_class(plugin, BackgroundEstimator)
    who = name_of(plugin)
    scene = scenes.frame(seed)
    for dtype in (np.float32, np.float64):
        image = scene.image.astype(dtype)
        verify = unchanged(who, dict(image=image, mask=scene.mask))
        answer = asked_twice(functools.partial(plugin.estimate, image, scene.mask), who, "estimate")
        verify()
        require(isinstance(answer, tuple) and len(answer) == 2, who, "estimate must return the sky image and its rms")
        sky, rms = answer
        check_array(sky, image.shape, who, "the sky")
        off = (sky - scene.sky) / scenes.SKY_RMS
        require(abs(np.median(off)) < 0.34, who, f"the sky is {np.median(off):+.2f} of a pixel's noise off the truth")
        require(np.abs(off).max() < 1.5, who, f"the sky is up to {np.abs(off).max():.1f} of a pixel's noise off")
        require(np.ndim(rms) == 0 and np.isfinite(rms), who, f"the rms must be one finite number, got {rms!r}")
        ratio = float(rms) / scenes.SKY_RMS
        require(0.75 < ratio < 1.25, who, f"the rms is {ratio:.2f} of the true noise of the sky")
    everything = np.ones(scene.mask.shape, bool)
    require(
        refused(lambda: plugin.estimate(scene.image, everything), who, "a frame all of whose pixels are masked"),
        who,
        "a frame all of whose pixels are masked must raise UnusableInput",
    )


def check_source_extractor(plugin: Any, seed: int = 1) -> None:
    """Check a source extractor on a sky-subtracted frame of isolated stars.

    Nine tenths of the stars must be found to 0.3 pixel and their fluxes be in proportion to 10 %; nothing may be found
    in masked pixels, and little in empty sky.
    """
    check_plugin_class(plugin, SourceExtractor)
    who = name_of(plugin)
    scene = scenes.frame(seed)
    image = np.where(scene.mask & ~np.isfinite(scene.image), np.nan, scene.image - scene.sky)
    verify = unchanged(who, dict(image=image, variance=scene.variance, mask=scene.mask))
    table = asked_twice(lambda: plugin.extract(image, scene.variance, scene.mask), who, "extract")
    verify()
    check_table(table, SOURCES, who)
    x, y = np.asarray(table["x"], float), np.asarray(table["y"], float)
    for column in ("x", "y", "flux", "fwhm", "a", "b", "theta"):
        require(np.all(np.isfinite(table[column])), who, f"the column {column} has values that are not finite")
    require(not np.any(abs(x - 100.0) < 1.5), who, "found sources in a masked column")
    distance = np.hypot(x[:, None] - scene.x, y[:, None] - scene.y)
    nearest, found = distance.argmin(axis=0), distance.min(axis=0) < 1.0
    require(found.mean() >= 0.9, who, f"found {found.sum()} of {found.size} clear stars")
    off = np.hypot(*(np.median((x[nearest] - scene.x)[found]), np.median((y[nearest] - scene.y)[found])))
    require(off < 0.1, who, f"positions are {off:.2f} pixels off in common: is the first pixel's centre (0, 0)?")
    require(np.median(distance.min(axis=0)[found]) < 0.3, who, "positions scatter by more than 0.3 pixels")
    ratio = np.asarray(table["flux"], float)[nearest][found] / scene.flux[found]
    bright = scene.flux[found] > 200.0
    spread = np.std(ratio[bright]) / np.mean(ratio[bright])
    require(spread < 0.1, who, f"fluxes of bright stars are in proportion to the true ones to {spread:.0%} only")
    width = np.median(np.asarray(table["fwhm"], float)[nearest][found]) / scene.psf.fwhm()
    require(0.75 < width < 1.35, who, f"the fwhm is {width:.2f} of the true one, {scene.psf.fwhm():.2f} pixels")
    spurious = np.sum(distance.min(axis=1) > 5.0)
    require(spurious <= 5, who, f"found {spurious} sources where nothing is")
    empty = plugin.extract(np.zeros((64, 64)), np.ones((64, 64)), np.zeros((64, 64), bool))
    check_table(empty, SOURCES, who)
    require(len(empty) == 0, who, f"found {len(empty)} sources in an image of zeros")


def check_cosmic_masker(plugin: Any, seed: int = 1) -> None:
    """Check a cosmic-ray detector on stamps of stars, half of them with a clear track beside the star.

    Half of the tracks' pixels must be found; of the clean stamps under 1 % of the pixels may be masked, and the core of
    hardly any star.
    """
    check_plugin_class(plugin, CosmicMasker)
    who = name_of(plugin)
    rng = np.random.default_rng(seed)
    n, size = 24, 32
    flux = rng.uniform(20.0, 800.0, n)
    stars = [f * scenes.Mixture().image(size, *rng.uniform(-0.5, 0.5, 2)) for f in flux]
    data, noise = scenes.noisy(np.array(stars), rng)
    hit = np.zeros(data.shape, bool)
    for i in range(0, n, 2):
        row, column = int(rng.integers(2, 8)), int(rng.integers(3, 20))
        hit[i, row + np.arange(5) // 2, column + np.arange(5)] = True
    data = data + hit * 80.0 * scenes.SKY_RMS
    noise = np.sqrt(noise**2 + hit * 80.0 * scenes.SKY_RMS / scenes.EXPTIME)
    verify = unchanged(who, dict(stamps=data, noise=noise))
    mask = asked_twice(lambda: plugin.mask(data, noise), who, "mask")
    verify()
    check_array(mask, data.shape, who, "the mask")
    require(mask.dtype == bool, who, f"the mask is of {mask.dtype}, not of booleans")
    require(mask[hit].mean() >= 0.5, who, f"found {mask[hit].mean():.0%} of the pixels of cosmic rays 80 sigma high")
    clean = mask[1::2]
    require(clean.mean() < 0.01, who, f"masked {clean.mean():.1%} of stamps that have no cosmic ray")
    middle = slice(size // 2 - 2, size // 2 + 2)
    cores = clean[:, middle, middle].any(axis=(1, 2)).mean()
    require(cores <= 0.1, who, f"masked the core of {cores:.0%} of the stars")
    check_array(plugin.mask(data[:0], noise[:0]), (0, size, size), who, "the mask of no stamps")
