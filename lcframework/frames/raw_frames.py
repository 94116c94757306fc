"""Raw FITS files into arrays: HDUs, merged headers, blanks, trimming, units, and lines that are broken."""

from __future__ import annotations

import errno
import re
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import scipy  # its subpackages load when they are first used
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from lcframework.config.sections import Frames
from lcframework.types import Bools, DataUnit, Floats, HeaderInfo, PixelFlag, UnusableInput

#: A row or column is bad where its median deviates from its neighbours' by this many times their usual deviation,
#: and by more than a single pixel's noise: less does no harm that masking it would not exceed.
BAD_LINE_SIGMA = 8.0
_NEIGHBOURS = 15
#: Keywords as the standard has them, the HIERARCH convention's and record-valued ones included.
_KEYWORD = re.compile(r"[A-Z0-9_ .-]*")
#: How integers in the file become values.
_STORAGE = ("BZERO", "BSCALE", "BLANK")
#: How one learns that a file can't be mapped into memory.
_NO_MAPPING = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)
#: As many pixels of a line tell its median well enough.
_SAMPLES = 400


@attrs.frozen(eq=False)
class RawFrame:
    """A raw image in its own units, and the merged header with its WCS moved along with the trimming."""

    image: Floats  # (ny, nx), nan where blank
    header: fits.Header


def read_raw(path: Path, settings: Frames) -> RawFrame:
    """Read a raw frame.

    Raises
    ------
    UnusableInput
        Where the file is not FITS, is truncated, or holds no image where the settings say.
    """
    try:
        try:
            return _read(path, settings, mapped=True)
        except OSError as error:
            if error.errno not in _NO_MAPPING:
                raise
            return _read(path, settings, mapped=False)
    except UnusableInput:
        raise
    except (OSError, TypeError, ValueError, EOFError, KeyError, fits.VerifyError) as error:
        raise UnusableInput(f"{path.name} can't be read as FITS: {_first_line(error)}. Is it whole?") from None


def _read(path: Path, settings: Frames, mapped: bool) -> RawFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        # astropy maps no integers that are to be scaled, and takes the BLANK of unsigned ones for a number.
        with fits.open(path, memmap=mapped, lazy_load_hdus=False, uint=False, do_not_scale_image_data=mapped) as hdus:
            return _from_hdus(hdus, path, settings, mapped)


def _from_hdus(hdus: fits.HDUList, path: Path, settings: Frames, mapped: bool) -> RawFrame:
    number = _number_of_image(hdus, path, settings)
    ny, nx = hdus[number].shape
    v, h = settings.trim_vertical, settings.trim_horizontal
    if 2 * v >= ny or 2 * h >= nx:
        raise UnusableInput(f"{path.name} is {nx} x {ny} pixels: nothing is left after trimming")
    image = _image(hdus[number], (slice(v, ny - v), slice(h, nx - h)), path, mapped)
    header = _merged_header(hdus, number, settings)
    _move_reference(header, h, v)
    if not np.isfinite(image).any():
        raise UnusableInput(f"{path.name} holds no finite pixel")
    return RawFrame(image, header)


def _move_reference(header: fits.Header, horizontal: int, vertical: int) -> None:
    """Move the reference pixel of a header's WCS, and of alternate ones, along with trimming.

    Distortions (SIP, TPV) are about the reference pixel, so they move with it.
    """
    for axis, cut in (("1", horizontal), ("2", vertical)):
        kinds = {k[len("CTYPE1") :] for k in header if re.fullmatch(f"CTYPE{axis}[A-Z]?", k)}
        kinds |= {k[len("CRPIX1") :] for k in header if re.fullmatch(f"CRPIX{axis}[A-Z]?", k)}
        for kind in kinds if cut else ():
            keyword = f"CRPIX{axis}{kind}"
            try:
                header[keyword] = float(header.get(keyword, 0.0)) - cut  # the standard's default is 0
            except (TypeError, ValueError):
                del header[keyword]  # what is no number locates nothing


def _number_of_image(hdus: fits.HDUList, path: Path, settings: Frames) -> int:
    number = settings.hdu_data
    with_images = [i for i, h in enumerate(hdus) if h.is_image and len(h.shape) == 2]
    if number not in with_images and len(with_images) == 1 and isinstance(hdus[with_images[0]], fits.CompImageHDU):
        number = with_images[0]  # compression moves the image of HDU 0 to HDU 1
    if number not in with_images:
        found = ", ".join(map(str, with_images)) or "none"
        raise UnusableInput(
            f"{path.name} has no two-dimensional image in HDU {number}; HDUs with one: {found} ([frames] hdu_data)"
        )
    if max(settings.hdu_headers, default=0) >= len(hdus):
        raise UnusableInput(
            f"{path.name} has {len(hdus)} HDUs; [frames] hdu_headers asks for {max(settings.hdu_headers)}"
        )
    return number


def _merged_header(hdus: fits.HDUList, number: int, settings: Frames) -> fits.Header:
    header = fits.Header()
    for index in dict.fromkeys([*settings.hdu_headers, number]):
        header.update(_readable(hdus[index].header))
    return header


def _readable(header: fits.Header) -> fits.Header:
    """Return a header without the cards that can't be read: only who needs one of them shall miss it.

    Those that say how numbers are stored are left out too: what is read is what they mean.
    """
    out = header.copy(strip=True)
    for keyword in _STORAGE:
        out.remove(keyword, ignore_missing=True, remove_all=True)
    for i in reversed(range(len(out))):
        card = out.cards[i]
        try:
            card.verify("silentfix")
            str(card.value)
            readable = _KEYWORD.fullmatch(card.keyword) is not None
        except (fits.VerifyError, ValueError, UnicodeError):
            readable = False
        if not readable:
            del out[i]
    return out


def read_raw_header(path: Path, settings: Frames) -> tuple[fits.Header, tuple[int, int]]:
    """Read a raw frame's merged header as :func:`read_raw` does, and the image's (ny, nx), without its pixels.

    Raises
    ------
    UnusableInput
        Where the file is not FITS, is cut off, or holds no image where the settings say.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AstropyWarning)
            with fits.open(path, lazy_load_hdus=False) as hdus:
                number = _number_of_image(hdus, path, settings)
                ny, nx = hdus[number].shape
                header = _merged_header(hdus, number, settings)
    except UnusableInput:
        raise
    except (OSError, TypeError, ValueError, EOFError, KeyError, fits.VerifyError) as error:
        raise UnusableInput(f"{path.name} can't be read as FITS: {_first_line(error)}. Is it whole?") from None
    if any("truncated" in str(w.message) for w in caught):
        raise UnusableInput(f"{path.name} is truncated: the file is shorter than its header says")
    return header, (int(ny), int(nx))


def _image(hdu: Any, part: tuple[slice, slice], path: Path, mapped: bool) -> Floats:
    """Return a part of an image; what is not asked for is not read where the file can be mapped."""
    if mapped and isinstance(hdu, fits.CompImageHDU):
        raise OSError(errno.ENODEV, "compressed images can't be mapped")
    try:
        stored = hdu.data[part]
        return _values(stored, hdu.header) if mapped else np.array(stored, np.float32)  # copies: they outlive the file
    except (OSError, TypeError, ValueError, EOFError) as error:
        if isinstance(error, OSError) and error.errno in _NO_MAPPING:
            raise
        ny, nx = hdu.shape
        raise UnusableInput(
            f"{path.name} is truncated: its image of {nx} x {ny} pixels is not all there ({_first_line(error)})"
        ) from None


def _values(stored: Any, header: fits.Header) -> Floats:
    """Return what stored numbers stand for: ``BZERO + BSCALE * stored``, nan for ``BLANK``."""
    scale, zero = (float(header.get(k, default)) for k, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    wide = stored.dtype.itemsize > 2 and (scale, zero) != (1.0, 0.0)
    out = stored.astype(np.float64 if wide else np.float32)
    if scale != 1.0:
        out *= scale
    if zero != 0.0:
        out += zero
    if stored.dtype.kind in "iu" and "BLANK" in header:
        out[stored == int(header["BLANK"])] = np.nan
    return np.asarray(out, np.float32)


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


def to_rate(image: Floats, info: HeaderInfo) -> Floats:
    """Return an image in e-/s."""
    factor = {
        DataUnit.ADU: info.gain / info.exptime,
        DataUnit.ELECTRON: 1.0 / info.exptime,
        DataUnit.ADU_PER_SECOND: info.gain,
        DataUnit.ELECTRON_PER_SECOND: 1.0,
    }[info.data_unit]
    return image * np.float32(factor)


def pixel_flags(image: Floats, saturation: float, reduced: Floats | None = None) -> np.ndarray:
    """Return the flags (ny, nx), uint8, that only the raw image can tell: saturated, blank, bad lines.

    Parameters
    ----------
    image : (ny, nx) array
        In the raw unit; nan where blank.
    saturation : float
        The level in that unit from which a pixel is saturated; inf where unknown.
    reduced : (ny, nx) array, optional
        The image less what the detector adds, where that is known: bad lines are those that are left in it.
    """
    blank = ~np.isfinite(image)
    flags = np.where(blank, PixelFlag.BLANK.value, 0).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        flags[image >= saturation] |= PixelFlag.SATURATED.value
    lines_in = image if reduced is None else reduced
    rows, columns = bad_lines(lines_in, 1), bad_lines(lines_in, 0)
    flags[rows, :] |= PixelFlag.BAD_LINE.value
    flags[:, columns] |= PixelFlag.BAD_LINE.value
    return flags


def bad_lines(image: Floats, axis: int) -> Bools:
    """Return which rows (`axis` 1) or columns (0) have a median unlike those near them, or hold a constant."""
    step = max(1, image.shape[axis] // _SAMPLES)
    sample = image[:, ::step] if axis == 1 else image[::step, :]
    finite = np.isfinite(sample)
    if not finite.all():  # a line of nan alone becomes a constant one
        sample = np.where(finite, sample, np.median(sample[finite]) if finite.any() else 0)
    n = sample.shape[axis]
    ranks = [n // 10, n // 2, 9 * n // 10]
    # NumPy sorts short lines several times faster than it parts them at three ranks.
    low, level, high = np.moveaxis(np.take(np.sort(sample, axis), ranks, axis), axis, 0)
    deviation = level - scipy.ndimage.median_filter(level, _NEIGHBOURS, mode="nearest")
    spread = 1.4826 * np.median(np.abs(deviation))
    pixel_noise = np.median(high - low) / 2.563
    return np.asarray((np.abs(deviation) > max(BAD_LINE_SIGMA * spread, pixel_noise)) | (high == low))
