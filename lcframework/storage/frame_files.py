"""Frames on disk: images with their masks, tables of sources, and WCSs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lcframework.storage.files import atomic
from lcframework.types import Floats, Ints, UnusableInput

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS


def write_frame(path: Path, image: Floats, mask: Ints, header: fits.Header) -> None:
    """Write an imported frame: the image in e-/s and its mask of :class:`~lcframework.types.PixelFlag` bits."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    primary = fits.PrimaryHDU(np.asarray(image, np.float32), header)
    flags = fits.ImageHDU(np.asarray(mask, np.uint8), name="MASK")
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        fits.HDUList([primary, flags]).writeto(temporary, output_verify="silentfix", overwrite=True)


def read_frame(path: Path) -> tuple[Floats, Ints, fits.Header]:
    """Return an imported frame's image, mask and header.

    Raises
    ------
    UnusableInput
        Where the file is missing or damaged; importing the frame again (``--force``) repairs it.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            image = np.asarray(hdus[0].data, np.float32)
            return image, np.asarray(hdus["MASK"].data, np.uint8), hdus[0].header
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UnusableInput(
            f"the imported frame {path} can't be read ({error}); make it again with "
            "`lcf run --force read_convert_skysub_character_catalog`"
        ) from None


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
    """Read the header that :func:`write_wcs` wrote."""
    from astropy.io import fits

    return fits.Header.fromstring(path.read_text(encoding="ascii"), sep="\n")


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
