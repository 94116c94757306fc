"""Headers that can't be read: all their defects, and lines that make good for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
from astropy.io import fits

from lcframework.header_doctor import InstrumentFiles, default_parsers, examine
from lcframework.plugins import Plugins


def night(folder: Path, count: int = 3, **changes: Any) -> Path:
    """Write frames of a gain of 2 e-/ADU, whose sky tilts, under names of keywords that nobody listed."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    sky = 400.0 + 12.0 * np.arange(320) * np.ones((256, 1))
    for i in range(count):
        cards = {"DATE-OBS": f"2024-03-01T02:0{i}:00", "EXPTIME": 30.0, "AGAIN_01": 2.0, "ARDNS_01": 7.5,
                 "INSFILTE": "V", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": "150.0", "CRVAL2": "-20.0",
                 "CRPIX1": 160.5, "CRPIX2": 128.5, "CD1_1": -0.0004, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0004,
                 }  # fmt: skip
        cards |= changes
        header = fits.Header({k: v for k, v in cards.items() if v is not None})
        image = np.round(300 + (rng.poisson(sky) + rng.normal(0, 7.5, sky.shape)) / 2).astype(np.uint16)
        fits.PrimaryHDU(image, header).writeto(folder / f"f{i}.fits")
    return folder


def looked_at(folder: Path) -> InstrumentFiles:
    plugins = Plugins.installed()
    parsers = tuple(p for p in default_parsers(plugins, folder) if p.name == "fits")
    (group,) = examine(folder, "*.fits", parsers, plugins=plugins)
    return group


def pasted(group: InstrumentFiles) -> dict[str, Any]:
    table: dict[str, Any] = tomli.loads("\n".join(group.paste)).get("header", {}).get("fits", {})
    return table


def test_no_defect_hides_another(tmp_path):
    folder = night(tmp_path / "raw", EXPTIME=None, GAIN="high", BUNIT="furlong", **{"DATE-OBS": "yesterday"})
    group = looked_at(folder)
    for words in ("no exposure time", "gain makes no sense", "furlong", "yesterday"):
        assert sum(words in reason for reason in group.reasons) == 1, group.reasons
    assert set(group.reasons.values()) == {3}


def test_what_can_be_read_is_shown(tmp_path):
    group = looked_at(night(tmp_path / "raw", EXPTIME=0.0, GAIN="high"))
    assert len(group.reasons) == 2
    assert group.values["band"] == {"V": 3}
    assert group.values["exptime"] == {"?": 3}
    assert group.values["gain"] == {"?": 3}


def test_lines_to_paste_make_the_frames_readable(tmp_path):
    folder = night(tmp_path / "raw")
    group = looked_at(folder)
    table = pasted(group)
    assert table == {"gain_keyword": "AGAIN_01", "read_noise": 7.5}
    parsers = tuple(p for p in default_parsers(Plugins.installed(), folder) if p.name == "fits")
    reader = type(parsers[0].instance)(**table)
    info = reader.parse(fits.getheader(folder / "f0.fits"), folder / "f0.fits")
    assert (info.gain, info.read_noise, info.band) == (2.0, 7.5, "V")


def test_a_keyword_that_the_noise_excludes_is_not_proposed(tmp_path):
    group = looked_at(night(tmp_path / "raw", AGAIN_01=4.0))
    assert pasted(group)["gain"] == pytest.approx(2.0, rel=0.2)
    assert "AGAIN_01 says 4.0" in "\n".join(group.paste)


def test_nothing_to_paste_where_nothing_is_missing(tmp_path):
    assert looked_at(night(tmp_path / "raw", GAIN=2.0, RDNOISE=7.5)).paste == ()


def test_the_wcs_and_its_scale(tmp_path):
    group = looked_at(night(tmp_path / "raw"))
    assert group.wcs == "1.44 arcsec/pixel, the first centred on 150.0000 -20.0000 (3 of 3 files)"
    assert looked_at(night(tmp_path / "none", CTYPE1=None, CTYPE2=None)).wcs.startswith("none: the header's WCS is not")
