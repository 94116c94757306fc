"""Reading of raw FITS files: HDUs, merged headers, blank pixels, trimming."""

from __future__ import annotations

import errno
import re
import warnings
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from lcframework.config.sections import Frames
from lcframework.frames.damaged_cards import damaged_card, fits_source
from lcframework.frames.hdu_names import listed, only_exposure
from lcframework.frames.header_merging import merged_header
from lcframework.frames.stored_numbers import Storage, unwrapped
from lcframework.storage.faults import not_read
from lcframework.types import Doubt, Floats, UnusableInput, check_fits_sizes

#: Keywords about an axis beyond the second, or about one and another.
_FURTHER_AXIS = re.compile(
    r"(NAXIS|CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CNAME|CRDER|CSYER)([3-9]|[1-9]\d)[A-Z]?"
    r"|(CD|PC)0*(\d+_0*([3-9]|[1-9]\d)|([3-9]|[1-9]\d)_0*\d+)[A-Z]?"
    r"|(PV|PS)([3-9]|[1-9]\d)_\d+[A-Z]?"
)
#: Errors that are raised for files that can't be mapped into memory.
_NO_MAPPING = (errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)


@attrs.frozen(eq=False)
class RawFrame:
    """A raw image in its own units, and the merged header with its WCS moved along with the trimming."""

    image: Floats  # (ny, nx), nan where blank
    header: fits.Header
    storage: Storage
    doubts: tuple[Doubt, ...]  # about the header as such, and about the numbers


def read_raw(path: Path, settings: Frames) -> RawFrame:
    """Read a raw frame.

    Raises
    ------
    UnusableInput
        Where the file is not FITS, is truncated, or has no image in the HDU of the settings.
    OSError
        Where the system can't read it at present: it is away, or may not be read.
    """
    try:
        check_fits_sizes(path)
        try:
            return _read(path, settings, mapped=True)
        except OSError as error:
            if error.errno not in _NO_MAPPING:
                raise
            return _read(path, settings, mapped=False)
    except UnusableInput:
        raise
    except Exception as error:  # the reader has many kinds for damaged files
        if not_read(error):
            raise
        raise _unreadable(path, error) from None


def _read(path: Path, settings: Frames, mapped: bool) -> RawFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        # astropy can't map integers that are to be scaled, and treats BLANK of unsigned integers as a number.
        with fits.open(
            fits_source(path), memmap=mapped, lazy_load_hdus=False, uint=False, do_not_scale_image_data=mapped
        ) as hdus:
            return _from_hdus(hdus, path, settings, mapped)


def _from_hdus(hdus: fits.HDUList, path: Path, settings: Frames, mapped: bool) -> RawFrame:
    number = _number_of_image(hdus, path, settings)
    ny, nx = hdus[number].shape[-2:]
    v, h = settings.trim_vertical, settings.trim_horizontal
    if 2 * v >= ny or 2 * h >= nx:
        raise UnusableInput(f"{path.name} is {nx} x {ny} pixels: nothing is left after trimming")
    stored = hdus[number].header
    storage = Storage(
        int(stored["BITPIX"]), *(float(stored.get(k, default)) for k, default in (("BZERO", 0.0), ("BSCALE", 1.0)))
    )
    image = _image(hdus[number], (slice(v, ny - v), slice(h, nx - h)), path, mapped)
    header, doubts = _merged(hdus, number, settings)
    _move_reference(header, h, v)
    if not np.isfinite(image).any():
        raise UnusableInput(f"{path.name} holds no finite pixel")
    image, storage, of_numbers = unwrapped(image, storage, path.name)
    return RawFrame(image, header, storage, (*doubts, *of_numbers))


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
                del header[keyword]  # an invalid value


def _number_of_image(hdus: fits.HDUList, path: Path, settings: Frames) -> int:
    number = settings.hdu_data
    with_images = [i for i, h in enumerate(hdus) if h.is_image and _is_plane(h.shape)]
    if number not in with_images and len(with_images) == 1 and isinstance(hdus[with_images[0]], fits.CompImageHDU):
        number = with_images[0]  # compression moves the image of HDU 0 to HDU 1
    if number not in with_images and number == 0 and not hdus[0].shape:
        found_one = only_exposure([str(h.name) if _holds_images(h) else None for h in hdus])
        number = found_one if found_one in with_images else number
    if number not in with_images:
        if card := damaged_card(path):
            raise _damaged(path, card)
        found = ", ".join(listed(i, hdus[i].name) for i in with_images) or "none"
        raise UnusableInput(
            f"{path.name} has no two-dimensional image in HDU {number}; HDUs with one: {found} ([frames] hdu_data)"
            + _of_cube(hdus, number)
        )
    if max(settings.hdu_headers, default=0) >= len(hdus):
        raise UnusableInput(
            f"{path.name} has {len(hdus)} HDUs; [frames] hdu_headers asks for {max(settings.hdu_headers)}"
        )
    return number


def _holds_images(hdu: Any) -> bool:
    """Whether an HDU holds an image, a cube of them, or a table with images in its cells."""
    if hdu.is_image:
        return len(hdu.shape) > 1
    return any(re.fullmatch(r"TDIM\d+", keyword) for keyword in hdu.header)


def _of_cube(hdus: fits.HDUList, number: int) -> str:
    """Say that an HDU holds several images, where it does."""
    shape = hdus[number].shape if number < len(hdus) and hdus[number].is_image else ()
    if len(shape) < 3 or _is_plane(shape):
        return ""
    return f". It holds a cube of {int(np.prod(shape[:-2]))} images: write each as a file, with its own time"


def _is_plane(shape: tuple[int, ...]) -> bool:
    """Whether an array (..., ny, nx) is one image: its further axes have length 1."""
    return len(shape) >= 2 and all(n == 1 for n in shape[:-2])


def _two_axes(header: fits.Header) -> fits.Header:
    """Return a header without what it says of axes beyond the second: a plane has none, and no WCS along them."""
    for keyword in [k for k in header if _FURTHER_AXIS.fullmatch(k)]:
        del header[keyword]
    if "NAXIS" in header:
        header["NAXIS"] = 2
    for keyword in [k for k in header if re.fullmatch("WCSAXES[A-Z]?", k)]:
        number = header[keyword]
        if isinstance(number, int) and number > 2:
            header[keyword] = 2
    return header


def _merged(hdus: fits.HDUList, number: int, settings: Frames) -> tuple[fits.Header, tuple[Doubt, ...]]:
    header, doubts = merged_header([hdus[i].header for i in dict.fromkeys([*settings.hdu_headers, number])])
    return _two_axes(header), doubts


def read_raw_header(path: Path, settings: Frames) -> tuple[fits.Header, tuple[int, int]]:
    """Read a raw frame's merged header as :func:`read_raw` does, and the image's (ny, nx), without its pixels.

    Raises as :func:`read_doubted_header`.
    """
    return read_doubted_header(path, settings)[:2]


def read_doubted_header(path: Path, settings: Frames) -> tuple[fits.Header, tuple[int, int], tuple[Doubt, ...]]:
    """Read what :func:`read_raw_header` does, and what is doubtful about the header as such.

    Raises
    ------
    UnusableInput
        Where the file is not FITS, is truncated, or has no image in the HDU of the settings.
    OSError
        Where the system can't read it at present.
    """
    try:
        check_fits_sizes(path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AstropyWarning)
            with fits.open(fits_source(path), lazy_load_hdus=False) as hdus:
                number = _number_of_image(hdus, path, settings)
                ny, nx = hdus[number].shape[-2:]
                header, doubts = _merged(hdus, number, settings)
                shape = int(ny), int(nx)
    except UnusableInput:
        raise
    except Exception as error:  # the reader has many kinds for damaged files
        if not_read(error):
            raise
        raise _unreadable(path, error) from None
    if any("truncated" in str(w.message) for w in caught):
        raise UnusableInput(f"{path.name} is truncated: the file is shorter than its header states")
    return header, shape, doubts


def _image(hdu: Any, part: tuple[slice, slice], path: Path, mapped: bool) -> Floats:
    """Return a part of an image; the rest is not read where the file can be mapped into memory."""
    if mapped and isinstance(hdu, fits.CompImageHDU):
        raise OSError(errno.ENODEV, "compressed images can't be mapped")
    try:
        stored = hdu.data[(0,) * (len(hdu.shape) - 2) + part]
        return _values(stored, hdu.header) if mapped else np.array(stored, np.float32)  # copies: the file is closed
    except UnusableInput:
        raise  # it took too long
    except Exception as error:  # libraries of compressions have kinds of their own
        if not_read(error):
            raise
        ny, nx = hdu.shape[-2:]
        raise UnusableInput(
            f"{path.name} is truncated: its image of {nx} x {ny} pixels is not all there ({_first_line(error)})"
        ) from None


def _values(stored: Any, header: fits.Header) -> Floats:
    """Return the values of stored numbers: ``BZERO + BSCALE * stored``, nan for ``BLANK``."""
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


def _unreadable(path: Path, error: Exception) -> UnusableInput:
    """Return what says why a file can't be read: which card it is, where it is one."""
    if card := damaged_card(path):
        return _damaged(path, card)
    return UnusableInput(f"{path.name} can't be read as FITS: {_first_line(error)}. Is it whole?")


def _damaged(path: Path, card: str) -> UnusableInput:
    comma = ": numbers have a point, not a comma" if re.search(r"\d,\d", card.partition("/")[0]) else ""
    return UnusableInput(
        f"{path.name} can't be read as FITS: its card {card!r} does not hold the number that it should. "
        f"Correct it{comma}"
    )


def _first_line(error: Exception) -> str:
    text = str(error).split("\n")[0]
    return (
        text
        if text and isinstance(error, OSError | ValueError)
        else f"{type(error).__name__}: {text}".removesuffix(": ")
    )
