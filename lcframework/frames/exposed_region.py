"""The part of a raw image on which light falls: overscan and prescan are neither sky nor a place for stars."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lcframework.frames.header_cards import text_of
from lcframework.types import Bools, Doubt, Floats, Severity, UnusableInput, is_section, section_slices
from lcframework.types.robust import SIGMA_PER_MAD, finite_median, scatter_about_zero

if TYPE_CHECKING:
    from astropy.io import fits

#: Names of sections with light on them, those that leave out bad edges first; and of sections without.
_EXPOSED = (re.compile(r"^TRIM"), re.compile(r"^(DATA|IMAGE|IMG|USER)_?SEC|^DSEC"))
_DARK = re.compile(r"BIAS|^BSEC|OVER?_?SC|OSCAN|^OSEC|PRE_?SC|POST?_?SC")
#: A header's exposed region is believed where it is this share of the image or more; less is another window's.
_LEAST_SHARE = 0.5
#: The widest strip that is looked for in the pixels, as a share of the image, and the narrowest, pixels.
_WIDEST, _NARROWEST = 8, 3
#: Lines along the strip are measured on at most so many pixels.
_SAMPLES = 1024
#: A strip without light has at most this share of the noise of the exposed pixels beside it: photons have noise,
_QUIET = 0.7
#: its level is the same across it to this share of the step to the exposed pixels,
_FLAT = 0.25
#: and the step is so many times the error of a line's level.
_STEP = 20.0


def unexposed(
    image: Floats, header: fits.Header, full: tuple[int, int], section: str = "auto"
) -> tuple[Bools | None, tuple[Doubt, ...]]:
    """Return which pixels see no light, and what is doubtful about that.

    Parameters
    ----------
    image : (ny, nx) array
        Raw; may have been trimmed, equally on opposite sides.
    header : Header
        Of the raw frame.
    full : tuple of int
        (ny, nx) of the image in the file, to which the sections refer.
    section : str
        The exposed region as a FITS section; ``"all"``: the whole image; ``"auto"``: what the header's sections say,
        where they can be right, else what the pixels at the edges show.

    Returns
    -------
    mask : (ny, nx) array of bool, or None
        True where no light falls; None where it falls everywhere.
    doubts : tuple of Doubt

    Raises
    ------
    UnusableInput
        Where `section` does not lie within the image.
    """
    if section == "all":
        return None, ()
    doubts: tuple[Doubt, ...] = ()
    if section != "auto":
        given = section_slices(section, full)
        if given is None:
            raise UnusableInput(
                f'[frames] trim_section = "{section}" does not lie within the image of {full[1]} x {full[0]} pixels'
            )
        dark = np.ones(full, bool)
        dark[given] = False
        dark = _as_trimmed(dark, image.shape)
    else:
        by_header = _by_header(header, full)
        if by_header is not None:
            dark = _as_trimmed(by_header, image.shape)
        else:
            dark, doubts = _by_pixels(image)
    return (dark, doubts) if dark.any() else (None, ())


def _as_trimmed(mask: Bools, shape: tuple[int, ...]) -> Bools:
    """Return the part of a mask of the whole image that trimming on opposite sides has left."""
    y, x = ((whole - n) // 2 for whole, n in zip(mask.shape, shape, strict=True))
    return mask[y : y + shape[0], x : x + shape[1]]


def _by_header(header: fits.Header, shape: tuple[int, int]) -> Bools | None:
    """Return which pixels the header's sections leave without light; None where it names none that can be right."""
    exposed: Bools | None = None
    for names in _EXPOSED:
        sections = [section_slices(text, shape) for text in _sections(header, names)]
        if sections and None not in sections:  # several: of several amplifiers
            union = np.zeros(shape, bool)
            for part in sections:
                union[part] = True
            if union.mean() >= _LEAST_SHARE:
                exposed = union
                break
    dark = np.zeros(shape, bool) if exposed is None else ~exposed
    strips = [s for text in _sections(header, _DARK) if (s := section_slices(text, shape)) is not None]
    strips = [s for s in strips if exposed is None or not exposed[s].any()]
    for strip in strips:
        dark[strip] = True
    if dark.mean() > 1 - _LEAST_SHARE or (exposed is None and not strips):
        return None
    return dark


def _sections(header: fits.Header, names: re.Pattern[str]) -> list[str]:
    texts = [text_of(header, keyword) for keyword in dict.fromkeys(header) if names.search(keyword.upper())]
    return list(dict.fromkeys(re.sub(r"\s", "", text) for text in texts if is_section(text)))


def _by_pixels(image: Floats) -> tuple[Bools, tuple[Doubt, ...]]:
    """Return which columns and rows at the edges show no light, and a note that says so."""
    dark = np.zeros(image.shape, bool)
    found = []
    for axis, lines in ((1, "columns"), (0, "rows")):
        lengthwise = image if axis == 1 else image.T
        for side, order in (("first", lengthwise), ("last", lengthwise[:, ::-1])):
            width = dark_strip(order)
            if width:
                part = slice(0, width) if side == "first" else slice(image.shape[axis] - width, None)
                dark[(slice(None), part) if axis == 1 else (part, slice(None))] = True
                found.append(f"the {side} {width} {lines}")
    if not found:
        return dark, ()
    text = f"{', '.join(found)} have the level and the noise of pixels without light, and were masked"
    remedy = 'Say where light falls by [frames] trim_section = "[x1:x2,y1:y2]", or "all"'
    return dark, (Doubt("overscan_by_pixels", text, remedy, severity=Severity.NOTE),)


def dark_strip(image: Floats) -> int:
    """Return how many columns at the left edge of an image (ny, nx) see no light; 0 where none does.

    Their level steps up to that of the exposed pixels from one column to the next but one, is the same in all of them,
    and they have less noise than the exposed ones beside them, which have that of photons in addition.
    """
    ny, nx = image.shape
    reach = nx // _WIDEST
    if reach < _NARROWEST or ny < 32:
        return 0
    columns = np.ascontiguousarray(image[:: max(1, ny // _SAMPLES), : 2 * reach].T)
    level = finite_median(columns, axis=1)
    with np.errstate(invalid="ignore"):
        rising = level[2:] - level[:-2]
    best = 0
    for width in np.argsort(-np.nan_to_num(rising[: reach - 1], nan=-np.inf))[:3] + 1:
        strip, beside = slice(0, int(width)), slice(int(width) + 1, int(width) + 1 + max(8, int(width)))
        if width < _NARROWEST or not np.isfinite([*level[strip], *level[beside]]).all():
            continue
        # Across the strip: charge that trails, and the first columns of the read-out, concern few of its columns.
        base = float(np.median(level[strip]))
        spread = scatter_about_zero(level[strip] - base)
        step = float(np.median(level[beside][:8])) - base
        if step <= spread / _FLAT or np.max(level[strip]) >= base + step / 2:
            continue
        quiet, loud = _noise(columns[strip]), _noise(columns[beside][:8])
        error = max(quiet, 0.3) * 1.25 / np.sqrt(columns.shape[1])
        if step > _STEP * error and quiet < _QUIET * loud:
            best = max(best, int(width))
    return best


def _noise(columns: Floats) -> float:
    """Return the median noise of columns (n, ny); of neighbours in each, so that neither gradients nor stars count."""
    with np.errstate(invalid="ignore"):
        steps = np.abs(np.diff(columns, axis=1))
    return float(np.median(finite_median(steps, axis=1)) * SIGMA_PER_MAD / np.sqrt(2))
