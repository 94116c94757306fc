"""Frames on disk: images with their masks, tables of sources, and WCSs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lcframework.storage.faults import not_read
from lcframework.storage.files import atomic
from lcframework.types import DamagedProduct, Floats, Ints

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS

#: Pixels that are compressed together: rows are read whole, and a bright star spoils no more than these.
_TILE = 2**14
#: So many steps of the common one in a usual pixel leave whole numbers that are all noise.
_MANY_STEPS = 2.0**21


def write_frame(path: Path, image: Floats, mask: Ints, header: fits.Header) -> None:
    """Write an imported frame: the image in e-/s and its mask of :class:`~lcframework.types.PixelFlag` bits.

    They are the extensions ``IMAGE`` and ``MASK``, compressed without loss (FITS tile compression, as by ``fpack``); an
    image that compresses badly is stored as it is.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    pixels = np.ascontiguousarray(image, np.float32)
    flags = np.ascontiguousarray(mask, np.uint8)
    tiles = (max(1, min(pixels.shape[0], _TILE // pixels.shape[1])), pixels.shape[1])
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdus = [
            fits.PrimaryHDU(),
            _image_hdu(pixels, header.copy(strip=True), tiles),
            fits.CompImageHDU(flags, name="MASK", tile_shape=tiles, compression_type="GZIP_1"),
        ]
        fits.HDUList(hdus).writeto(temporary, output_verify="silentfix", overwrite=True)


def _image_hdu(image: Floats, header: fits.Header, tiles: tuple[int, int]) -> Any:
    """Return an image as an HDU, compressed where this saves a quarter or more.

    A difference of two numbers (pixel and sky) has no finer digits than they had: all pixels are whole multiples of one
    step, a power of two, and whole numbers compress well and fast. Where these are too large for 32 bits, around bright
    stars, astropy compresses the tile's bytes. Where the step is so fine that the numbers would be all noise, bytes
    would take thirty times as long to write and save a tenth.
    """
    from astropy.io import fits

    step = _common_step(image) if np.isfinite(image).all() else 0.0
    if not np.median(np.abs(image[::7, ::5])) < _MANY_STEPS * step:
        return fits.ImageHDU(image, header, "IMAGE")
    return fits.CompImageHDU(image, header, "IMAGE", "RICE_1", tile_shape=tiles, quantize_level=-step,
                             quantize_method=-1)  # fmt: skip


def _common_step(image: Floats) -> float:
    """Return the largest power of two that all pixels are whole multiples of; 0 where all are 0."""
    step = _step_of(image[::11, ::11])
    if step:
        steps = image / np.float32(step)  # exact: a power of two changes the exponent alone
        if np.array_equal(steps, np.rint(steps)):
            return step
    return _step_of(image)


def _step_of(image: Floats) -> float:
    bits = np.ascontiguousarray(image[image != 0]).view(np.uint32)
    if bits.size == 0:
        return 0.0
    mantissa = (bits & np.uint32(0x7FFFFF)) | np.uint32(0x800000)
    lowest = mantissa & (~mantissa + np.uint32(1))
    exponents = ((bits >> np.uint32(23)) & np.uint32(0xFF)).astype(np.int32) - 151 + np.frexp(lowest)[1]
    return float(2.0 ** exponents.min())


def read_frame(path: Path) -> tuple[Floats, Ints, fits.Header]:
    """Return an imported frame's image, mask and header.

    Raises
    ------
    DamagedProduct
        Where the file is garbled.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            hdu = _image_of(hdus)
            return np.asarray(hdu.data, np.float32), np.asarray(hdus["MASK"].data, np.uint8), hdu.header
    except MemoryError:
        raise
    except Exception as error:  # what a damaged file raises depends on the place of the damage
        if not_read(error):
            raise
        raise _unreadable(path, error) from None


def read_frame_header(path: Path) -> fits.Header:
    """Return an imported frame's header, with the image's ``NAXIS1`` and ``NAXIS2``; raises as :func:`read_frame`."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            return _image_of(hdus).header.copy()
    except (OSError, KeyError, TypeError, ValueError) as error:
        if not_read(error):
            raise
        raise _unreadable(path, error) from None


def _image_of(hdus: fits.HDUList) -> Any:
    """Return the HDU of a frame's image: the first one in files of earlier versions, which were not compressed."""
    return hdus[0] if hdus[0].header["NAXIS"] else hdus["IMAGE"]


def _unreadable(path: Path, error: Exception) -> DamagedProduct:
    return DamagedProduct(path, f"it can't be read: {error}")


def ascii_text(text: str) -> str:
    """Return a text for a FITS header: characters outside ASCII become question marks."""
    return text.encode("ascii", "replace").decode()


def write_table(path: Path, table: Table) -> None:
    """Write a table's columns and their units as FITS."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    hdu = fits.BinTableHDU(table.filled().as_array())
    for i, name in enumerate(table.colnames, 1):  # set as cards, because `Table.write` would take ten times longer
        if table[name].unit is not None:
            hdu.header.set(f"TUNIT{i}", table[name].unit.to_string("fits"), after=f"TFORM{i}")
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, overwrite=True)


def read_table(path: Path) -> Table:
    """Read a table that :func:`write_table` wrote."""
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path, memmap=False) as hdus:
        data = np.asarray(hdus[1].data)
        return Table(data.astype(data.dtype.newbyteorder("=")))


def write_wcs(path: Path, header: fits.Header) -> None:
    """Write a WCS header as text."""
    with atomic(path) as temporary:
        temporary.write_text(header.tostring(sep="\n", padding=False), encoding="ascii")


def read_wcs_header(path: Path) -> fits.Header:
    """Read the header that :func:`write_wcs` wrote.

    Raises
    ------
    DamagedProduct
        Where it holds no celestial coordinates: an empty header is a valid WCS of the pixels themselves.
    """
    from astropy.io import fits

    try:
        header = fits.Header.fromstring(path.read_text(encoding="ascii"), sep="\n")
        celestial = all(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2))
    except (ValueError, fits.VerifyError) as error:
        raise DamagedProduct(path, f"it can't be read: {error}") from None
    if not celestial:
        raise DamagedProduct(path, "it holds no WCS: CTYPE1 or CTYPE2 is missing")
    return header


def read_wcs(path: Path) -> WCS:
    """Read a WCS that :func:`write_wcs` wrote."""
    return make_wcs(read_wcs_header(path))


def make_wcs(header: fits.Header) -> WCS:
    """Return a header's celestial WCS, without astropy's warnings about keywords that it repairs."""
    from astropy.utils.exceptions import AstropyWarning
    from astropy.wcs import WCS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        return WCS(header, naxis=2)


_WCS_PREFIXES = ("CRVAL", "CRPIX", "CDELT", "CROTA", "CTYPE", "CUNIT", "CD1_", "CD2_", "PC1_", "PC2_", "PC001", "PC002",
                 "PV1_", "PV2_", "A_", "B_", "AP_", "BP_", "LONPOLE", "LATPOLE", "WCSAXES", "CPDIS", "CQDIS", "DP1",
                 "DP2", "DQ1", "DQ2", "D2IMDIS", "WAT0_", "WAT1_", "WAT2_")  # fmt: skip
_COORDINATES = ("RADESYS", "RADECSYS", "EQUINOX")


def with_wcs(header: fits.Header, wcs: fits.Header) -> fits.Header:
    """Return a header whose WCS keywords are those of another."""
    out = header.copy()
    for key in _wcs_keywords(out):
        while key in out:
            del out[key]
    for card in wcs.cards:
        if card.keyword.startswith((*_WCS_PREFIXES, *_COORDINATES)):
            out[card.keyword] = (card.value, card.comment)
    return out


def _wcs_keywords(header: fits.Header) -> list[str]:
    return list(dict.fromkeys(k for k in header if k.startswith(_WCS_PREFIXES) or k in _COORDINATES))
