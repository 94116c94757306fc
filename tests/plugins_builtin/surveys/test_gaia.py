"""The survey ``gaia``: published relations, their ranges and systems."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from astropy.table import Table

from lcframework.types import MAGNITUDES, NeedMissing, UnusableInput
from plugins_builtin.surveys.gaia import GaiaTransformed

#: G - X at BP - RP = 0.5, 1 and 1.5, in exact decimals from tables 5.8 and 5.9 of the Gaia DR3 documentation.
EXACT = {
    "g_sdss": (-0.13625, -0.565, -1.06155),
    "r_sdss": (-0.027583125, 0.03078, 0.000061875),
    "i_sdss": (0.0029145, 0.249206, 0.4442965),
    "V": (-0.0720375, -0.21414, -0.4426525),
    "R": (0.1427159375, 0.238865, 0.2637209375),
    "Ic": (0.372755, 0.67843, 0.934555),
    "B_T": (-0.485961125, -1.226928, -2.138294875),
    "V_T": (-0.1016175, -0.29425, -0.5711025),
}
SYSTEMS = {"g_sdss": "AB", "r_sdss": "AB", "i_sdss": "AB"}
SCATTER = {
    "g_sdss": 0.0745,
    "r_sdss": 0.03776,
    "i_sdss": 0.04092,
    "V": 0.03017,
    "R": 0.03167,
    "Ic": 0.03765,
    "B_T": 0.07063,
    "V_T": 0.0535,
}
#: Table 5.10 and its notes: blue end, red end, red end for stars that need not be M giants.
RANGES = {
    "g_sdss": (0.3, 3.0, 2.0),
    "r_sdss": (0.0, 3.0, 2.0),
    "i_sdss": (0.5, 2.0, 2.0),
    "V": (-0.5, 5.0, 5.0),
    "R": (0.0, 4.0, 2.0),
    "Ic": (-0.5, 4.5, 4.5),
    "B_T": (-0.3, 3.0, 3.0),
    "V_T": (-0.35, 4.0, 4.0),
}


def stars(colours, g: float = 15.0) -> Table:
    colours = np.asarray(colours, float)
    t = Table()
    t["source_id"] = [f"s{i}" for i in range(len(colours))]
    t["magnitude"] = np.full(len(colours), g)
    t["bp"], t["rp"] = g + 0.4 * colours, g - 0.6 * colours
    return t


@pytest.mark.parametrize("band", EXACT)
def test_magnitudes_against_exact_sums(band):
    found = MAGNITUDES.check(GaiaTransformed().magnitudes(stars([0.5, 1.0, 1.5]), band), "gaia")
    np.testing.assert_allclose(15.0 - np.asarray(found["mag"]), EXACT[band], atol=1e-12)
    np.testing.assert_allclose(np.asarray(found["mag_err"]), SCATTER[band])
    np.testing.assert_allclose(np.asarray(found["colour"]), [0.5, 1.0, 1.5])
    assert found.meta["system"] == SYSTEMS.get(band, "Vega")
    assert (found.meta["colour"], found.meta["band"]) == ("bp_rp", band)
    assert found["mag"].unit == "mag"


def test_the_sun_keeps_its_colours():
    # BP - RP = 0.82 (Casagrande and VandenBerg 2018), V - R = 0.352 and V - Ic = 0.702 (Ramirez et al. 2012),
    # g - r = 0.44 +- 0.02 (SDSS); the tolerances are the scatters of the relations
    mags = {band: GaiaTransformed().magnitudes(stars([0.82]), band)["mag"][0] for band in EXACT}
    assert mags["V"] - mags["R"] == pytest.approx(0.352, abs=0.03)
    assert mags["V"] - mags["Ic"] == pytest.approx(0.702, abs=0.03)
    assert mags["g_sdss"] - mags["r_sdss"] == pytest.approx(0.44, abs=0.05)


@pytest.mark.parametrize("band", RANGES)
@pytest.mark.parametrize("giants", [False, True])
def test_colours_out_of_range_are_left_out(band, giants):
    blue, red, dwarf = RANGES[band]
    red = red if giants else dwarf
    # clear of the ends by more than the rounding of BP - RP
    colours = [blue - 1e-6, blue + 1e-6, 0.5 * (blue + red), red - 1e-6, red + 1e-6, np.nan]
    found = GaiaTransformed(giants=giants).magnitudes(stars(colours), band)
    assert list(found["source_id"]) == ["s1", "s2", "s3"]


def test_masked_magnitudes_are_left_out():
    t = Table(stars([1.0, 1.0, 1.0]), masked=True)
    t["bp"].mask[0] = True
    t["magnitude"][1] = np.nan
    assert list(GaiaTransformed().magnitudes(t, "V")["source_id"]) == ["s2"]


def test_no_star_at_all():
    found = MAGNITUDES.check(GaiaTransformed().magnitudes(stars([]), "V"), "gaia")
    assert len(found) == 0


def test_an_unknown_band_lists_the_known():
    with pytest.raises(NeedMissing, match=r"no band 'r_sds'; did you mean 'r_sdss'\?.*g_sdss, r_sdss.*B_T, V_T"):
        GaiaTransformed().magnitudes(stars([1.0]), "r_sds")


def test_stars_without_colours():
    t = stars([1.0])
    t.remove_columns(["bp"])
    with pytest.raises(NeedMissing, match="no bp"):
        GaiaTransformed().magnitudes(t, "V")


def test_a_magnitude_that_is_not_g_is_refused():
    """By the flux excess of Riello et al. 2021; V is fainter by its published relation."""
    colours = np.linspace(0.6, 1.4, 9)
    t = stars(colours)
    t["rp"] = 15.0
    t["bp"] = t["rp"] + colours
    flux = 10 ** (0.4 * (25.3385 - t["bp"])) + 10 ** (0.4 * (24.7479 - t["rp"]))
    excess = 1.162004 + 0.011464 * colours + 0.049255 * colours**2 - 0.005879 * colours**3
    t["magnitude"] = 25.6874 - 2.5 * np.log10(flux / excess)
    assert len(GaiaTransformed().magnitudes(t, "V")) == 9
    t["magnitude"] += 0.02704 - 0.01424 * colours + 0.2156 * colours**2 - 0.01426 * colours**3
    with pytest.raises(UnusableInput, match=r"not Gaia's G: it differs by \+0\.\d\d mag"):
        GaiaTransformed().magnitudes(t, "V")


def test_it_travels_to_workers():
    assert pickle.loads(pickle.dumps(GaiaTransformed(giants=True))) == GaiaTransformed(giants=True)
