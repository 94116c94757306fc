"""Colour mosaics: frames whose pixels lie behind filters of several colours."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING

import attrs
import numpy as np

from lcframework.frames.header_cards import as_number
from lcframework.frames.squares import SQUARE, squares
from lcframework.types import Bools, Doubt, Floats, Severity
from lcframework.types.robust import SIGMA_PER_MAD, robust_scatter

if TYPE_CHECKING:
    from astropy.io import fits

#: Keywords that name the pattern of a mosaic, and those that say where it begins.
_PATTERN = re.compile(r"BAY(E?R)?PAT|BAYER|COLORTYP|COLOUR?TYP|CFA")
_OFFSET = re.compile(r"[XY]BAYROFF|BAYOFF")
_NO_PATTERN = re.compile(r"(NONE|MONO(CHROME)?|NO|N/?A|FALSE|F|0|GR[AE]Y(SCALE)?|UNKNOWN|)", re.IGNORECASE)
#: Levels differ where the four places of a cell do by this much of a pixel's noise, and of their own error.
_LEVELS, _SURE = 0.3, 10.0
#: Light differs where a place has its share of a quarter more or less by this, and by this many errors.
_SHARES, _SURE_SHARES = 0.04, 6.0
#: Cells with stars' light that can be compared, and how many of them lie in one star.
_FEWEST_CELLS, _CELLS_OF_A_STAR = 60, 5
#: Cells have a star's light where they are brighter than the sky by this many times its noise.
_BRIGHT = 30.0


class _Seen(enum.Enum):
    """What pixels show of a mosaic."""

    NOTHING = enum.auto()  # too few stars and too even a sky to tell
    NONE = enum.auto()
    MOSAIC = enum.auto()


@attrs.frozen
class Places:
    """How the four places (0, 0), (0, 1), (1, 0), (1, 1) of all cells of 2 x 2 pixels differ."""

    checkered: float  # how much the diagonals' levels differ, in units of a pixel's noise
    checkered_error: float
    shares: Floats  # of stars' light, 0.25 each where there is no mosaic
    shares_error: float  # nan where too few stars are there


def mosaic_doubts(image: Floats, header: fits.Header, saturation: float) -> tuple[Doubt, ...]:
    """Return a doubt where a frame is a colour mosaic, by its header or by its pixels.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    header : Header
        The frame's.
    saturation : float
        The level from which pixels are saturated; inf where unknown.
    """
    said = mosaic_said(header)
    places = compare_places(image, saturation)
    seen = _judge(places)
    spread = float(np.ptp(places.shares) / 0.25) if np.isfinite(places.shares_error) else np.nan
    remedy = (
        "Take one colour out of the frames (every second pixel of every second row; both greens are one), with a name "
        "of its own as the filter, or sum cells of 2 x 2 pixels"
    )
    if seen is _Seen.NONE:
        if not said:
            return ()
        text = f"{said} speaks of a colour mosaic, and the pixels show none"
        keep = "Take the keyword out if the frames are of one colour"
        return (Doubt("mosaic", text, keep, severity=Severity.NOTE, value=spread),)
    if not said and seen is _Seen.NOTHING:
        return ()
    why = f"by {said}" if said else "by the levels of the pixels, which differ in a pattern of 2 x 2"
    also = " and by the levels of its pixels" if said and seen is _Seen.MOSAIC else ""
    text = f"the frame is a colour mosaic {why}{also}: its pixels see a star in different colours"
    return (Doubt("mosaic", text, remedy, severity=Severity.SERIOUS, value=spread),)


def mosaic_said(header: fits.Header) -> str:
    """Return the card by which a header says that the frame is a colour mosaic; empty where it says none."""
    offset = ""
    for card in header.cards:
        text = str(card.value).strip()
        if _PATTERN.search(card.keyword) and not _NO_PATTERN.fullmatch(text):
            return f"{card.keyword} = {text}"
        if _PATTERN.search(card.keyword):
            return ""
        if _OFFSET.search(card.keyword) and as_number(card.value) is not None:
            offset = offset or f"{card.keyword} = {text}"
    return offset


def _judge(places: Places) -> _Seen:
    """Return what pixels show; a pattern of columns alone, or of rows, is that of a detector's amplifiers."""
    if abs(places.checkered) > max(_LEVELS, _SURE * places.checkered_error):
        return _Seen.MOSAIC
    if not np.isfinite(places.shares_error):
        return _Seen.NOTHING
    a, b, c, d = places.shares
    diagonals, columns, rows = (abs(a + d - b - c) / 2, abs(a + c - b - d) / 2, abs(a + b - c - d) / 2)
    largest = float(max(diagonals, min(columns, rows)))
    if largest > max(_SHARES, _SURE_SHARES * places.shares_error):
        return _Seen.MOSAIC
    return _Seen.NONE if 3 * places.shares_error < _SHARES and largest < 0.75 * _SHARES else _Seen.NOTHING


def compare_places(image: Floats, saturation: float = np.inf) -> Places:
    """Return how the four places in cells of 2 x 2 pixels differ in level and in their share of stars' light.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    saturation : float
        Pixels from this level on are not looked at.
    """
    every = squares(image)
    if len(every) < 16:
        return Places(0.0, np.inf, np.full(4, 0.25), np.nan)
    some = every[:: max(1, every.size // 500_000)]
    cells = np.stack([some[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=1)  # (squares, 4, 16, 16)
    whole = np.isfinite(cells).all(axis=(1, 2, 3))
    cells = cells[whole].astype(np.float64).reshape(-1, 4, SQUARE**2 // 4)
    if len(cells) < 16:
        return Places(0.0, np.inf, np.full(4, 0.25), np.nan)
    level = np.median(cells, axis=2)
    noise = SIGMA_PER_MAD * np.median(np.abs(cells - level[:, :, None]), axis=2).mean(axis=1)
    usual = float(np.median(noise[noise > 0])) if (noise > 0).any() else 1.0
    checkered = (level[:, 0] + level[:, 3] - level[:, 1] - level[:, 2]) / 2 / usual
    error = robust_scatter(checkered) / np.sqrt(len(checkered))
    light, clipped = cells - level[:, :, None], np.asarray((cells >= saturation).any(axis=1))
    shares, shares_error = _shares(light, clipped, usual)
    return Places(float(np.median(checkered)), max(error, 0.02 / np.sqrt(len(cells))), shares, shares_error)


def _shares(light: Floats, clipped: Bools, noise: float) -> tuple[Floats, float]:
    """Return which share of the light of bright cells falls on each place, and its error; nan where cells are few."""
    total = light.sum(axis=1)
    chosen = (total > _BRIGHT * noise) & ~clipped
    found = np.moveaxis(light, 1, 2)[chosen] / total[chosen][:, None]
    if len(found) < _FEWEST_CELLS:
        return np.full(4, 0.25), np.nan
    shares = np.median(found, axis=0)
    if shares.sum() < 0.5:  # single hot pixels, not stars
        return np.full(4, 0.25), np.nan
    spread = SIGMA_PER_MAD * np.median(np.abs(found - shares), axis=0).max()
    return shares / shares.sum(), float(1.25 * spread / np.sqrt(len(found) / _CELLS_OF_A_STAR))
