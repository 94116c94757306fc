"""Codes of the AAVSO for names of bands, by what the observers who write these names mean."""

from __future__ import annotations

import pytest

from plugins_builtin.shared.aavso_filters import OTHER, aavso_filter

CODES = {
    # Sloan's primes; Las Cumbres Observatory has rp, ip, zs and Y
    "rp": "SR", "gp": "SG", "ip": "SI", "up": "SU", "zp": "SZ", "r'": "SR", "R'": "SR", "SDSS r'": "SR",
    "sdss_G": "SG", "g'_SDSS": "SG", "r_prime": "SR", "r_SDSS": "SR", "zs": "ZS", "z_ps1": "ZS", "Y": "Y", "y": "Y",
    # bare letters in lower case
    "b": "B", "v": "V", "u": "SU",
    # the names that say Strömgren
    "Stromgren b": "STB", "stromgren_y": "STY", "Strömgren v": "STV", "u_Str": "STU", "Stroemgren b": "STB",
    # of lcf-telescopes: ALFOSC, WFI, EulerCam, DECam
    "R_Bes": "R", "B_Bes": "B", "Rc-162": "R", "B-123": "B", "B-99": "B", "V-89": "V", "I-203": "I", "Rc/162": "R",
    "IC": "I", "Johnson-V": "V", "Rc_Bessell": "R",
}  # fmt: skip
#: Gaia's bands and DECam's VR, which have no code, and names that only look like one.
WITHOUT_A_CODE = [
    "RP",
    "Rp",
    "BP",
    "bp",
    "GP",
    "Gp",
    "G",
    "G_RP",
    "ZP",
    "Zp",
    "IP",
    "Ip",
    "UP",
    "VR",
    "Bstr3",
    "w",
    "Z",
]


@pytest.mark.parametrize(("band", "code"), CODES.items())
def test_a_band_has_the_code_that_its_observers_mean(band: str, code: str) -> None:
    assert aavso_filter(band) == code


@pytest.mark.parametrize("band", WITHOUT_A_CODE)
def test_a_band_of_another_system_has_no_code(band: str) -> None:
    assert aavso_filter(band) == OTHER
