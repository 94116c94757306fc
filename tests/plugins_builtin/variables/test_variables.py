"""The catalogues of variable stars: VSX against a loopback TAP service, and tables of the user's own."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from lcframework.testing import check_variable_catalog
from lcframework.types import NeedMissing, Region, UnusableInput
from plugins_builtin.variables.file import TableOfVariables
from plugins_builtin.variables.vsx import Vsx

FIELD = Region(31.04, 46.69, 0.2)


@pytest.fixture
def service(tap_service):
    table = Table(masked=True)
    table["Name"] = ["V1 And", "NSV 2", "const", "far away", "V5 And"]
    table["V"] = [0, 1, 2, 0, 0]
    table["RAJ2000"] = 31.04 + np.array([0.0, 0.05, 0.01, 5.0, 0.1])
    table["DEJ2000"] = 46.69 + np.array([0.05, 0.0, 0.0, 0.0, -0.1])
    table["Type"] = MaskedColumn(["RRAB", "", "", "M", "EA"], mask=[False, True, True, False, False])
    return tap_service({"B/vsx/vsx": table})


@pytest.fixture
def vsx(service, tmp_path):
    return Vsx(server=service.url, timeout=5.0, retries=0, backoff=0.01, cache_dir=tmp_path)


def test_vsx_leaves_out_what_turned_out_to_be_constant(vsx):
    found = vsx.variables(FIELD)
    assert list(found["name"]) == ["V1 And", "NSV 2", "V5 And"]
    assert list(found["type"]) == ["RRAB", "", "EA"]
    np.testing.assert_allclose(found["ra"], [31.04, 31.09, 31.14])
    np.testing.assert_allclose(found["ref_epoch"], 2000.0)
    sure = attrs.evolve(vsx, suspected=False).variables(FIELD)
    assert list(sure["name"]) == ["V1 And", "V5 And"]
    check_variable_catalog(vsx, FIELD, expected={"V1 And", "NSV 2", "V5 And"})


def test_vsx_is_asked_once_and_answers_offline_also_where_there_is_no_variable(vsx, service):
    empty = Region(200.0, -10.0, 0.1)
    assert len(vsx.variables(FIELD)) == 3
    assert len(vsx.variables(empty)) == 0
    asked = len(service.log)
    offline = attrs.evolve(vsx, offline=True)
    assert list(offline.variables(FIELD)["name"]) == ["V1 And", "NSV 2", "V5 And"]
    nothing = offline.variables(empty)
    assert (len(nothing), nothing["ra"].dtype.kind) == (0, "f")
    assert len(service.log) == asked
    with pytest.raises(NeedMissing, match="lcf prefetch"):
        offline.variables(Region(201.0, -10.0, 0.1))


def test_a_service_that_fails_is_no_answer_without_variables(vsx, service):
    service.script += ["503"]
    with pytest.raises(NeedMissing, match="no service gave a whole answer"):
        vsx.variables(FIELD)
    assert len(vsx.variables(FIELD)) == 3


def test_a_table_of_the_users_own(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("id,RA_deg,DE_deg\nV1,31.04,46.70\nV2,40.0,46.70\n")
    mine = TableOfVariables(path=path, columns={"name": "id", "ra": "RA_deg", "dec": "DE_deg"})
    found = mine.variables(FIELD)
    assert (list(found["name"]), list(found["type"])) == (["V1"], [""])
    check_variable_catalog(mine, FIELD, expected={"V1"})


def test_tables_that_can_not_be_used(tmp_path):
    with pytest.raises(NeedMissing, match=r"\[variables.file\] path"):
        TableOfVariables(path=tmp_path / "none.csv").variables(FIELD)
    (tmp_path / "a.csv").write_text("name,ra,dec\nV1,46.69,131.0\n")
    with pytest.raises(UnusableInput, match="are ra and dec swapped"):
        TableOfVariables(path=tmp_path / "a.csv").variables(FIELD)
