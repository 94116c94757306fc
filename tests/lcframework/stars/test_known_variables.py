"""Reference stars that are known variables, found by position."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from lcframework.stages.query_gaia_for_stars import FieldQuery, star_rows
from lcframework.stars.choice import VARIABLE
from lcframework.stars.known_variables import KNOWN_VARIABLE, known_variables, variable_name
from lcframework.types import Region


def stars():
    """Return three stars at 2016.0; the second moves by 1 arcsec a year to the north."""
    table = Table()
    table["source_id"] = ["1", "2", "3"]
    table["ra"], table["dec"] = [10.0, 10.01, 10.02], [60.0, 60.0, 60.0]
    table["pmra"], table["pmdec"] = [0.0, 0.0, np.nan], [0.0, 1000.0, np.nan]
    table["ref_epoch"], table["magnitude"], table["distance"] = 2016.0, 15.0, 1.0
    table["variable"] = [True, False, False]
    return table


def variables(*rows):
    table = Table(rows=list(rows), names=("name", "ra", "dec", "type"), dtype=("U20", "f8", "f8", "U10"))
    table["ref_epoch"] = np.full(len(rows), 2000.0)
    return table


def test_a_star_is_known_by_its_place_at_the_epoch_of_the_catalogue():
    known = variables(("V1 Cas", 10.01, 60.0 - 16.0 / 3600, "RR"), ("V2 Cas", 10.02, 60.0 + 2.0 / 3600, ""))
    assert known_variables(stars(), known, 3.0) == ["", "V1 Cas (RR, 0.0 arcsec away)", "V2 Cas (2.0 arcsec away)"]
    assert known_variables(stars(), known, 1.0) == ["", "V1 Cas (RR, 0.0 arcsec away)", ""]
    assert known_variables(stars(), known[:0], 3.0) == ["", "", ""]
    assert known_variables(stars()[:0], known, 3.0) == []


def test_the_nearest_variable_names_a_star():
    known = variables(("far", 10.0, 60.0 + 2.0 / 3600, "M"), ("near", 10.0, 60.0 - 0.5 / 3600, "--"))
    assert known_variables(stars(), known, 3.0)[0] == "near (0.5 arcsec away)"


def test_the_comment_of_a_star_says_so():
    table = stars()
    table["known_variable"] = ["V1 Cas (RR, 0.0 arcsec away)", "V2 Cas (1.0 arcsec away)", ""]
    rows = star_rows(table, FieldQuery("h", Region(10.0, 60.0, 0.1), ("R",), {}))
    first = f"{VARIABLE}; {KNOWN_VARIABLE}V1 Cas (RR, 0.0 arcsec away)"
    assert [r["comment"] for r in rows] == [first, f"{KNOWN_VARIABLE}V2 Cas (1.0 arcsec away)", ""]
    assert [variable_name(r["comment"]) for r in rows] == [
        "V1 Cas (RR, 0.0 arcsec away)", "V2 Cas (1.0 arcsec away)", "",
    ]  # fmt: skip
