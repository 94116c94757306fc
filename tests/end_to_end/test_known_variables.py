"""Known variables among the reference stars take no part in the photometry; the AAVSO's chart names the check star."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

PLUGIN = """
from lcframework.hookspecs import hookimpl
from plugins_builtin.variables.file import TableOfVariables

@hookimpl
def lcf_variable_catalogs(): return {"mine": TableOfVariables}
"""


def measured(campaign: Any) -> set[str]:
    query = "select distinct s.name from star_flux_in_frame f join stars s on s.gaia_id = f.gaia_id"
    return {row[0] for row in campaign.query(query)}


@pytest.mark.slow
def test_variables_are_left_out_and_charted_stars_named(campaign: Any, install: Any) -> None:
    install("lcf-mine", PLUGIN, {"variables-mine": "lcf_mine"})
    before = measured(campaign)
    ((letter, ra, dec, pmra, pmdec, epoch),) = campaign.query(
        "select s.name, s.ra, s.dec, s.pmra, s.pmdec, s.ref_epoch from stars s join star_flux_in_frame f "
        "on s.gaia_id = f.gaia_id where s.active group by s.gaia_id order by s.name limit 1"
    )
    years = (2000.0 - epoch) / 3.6e6  # to degrees, from mas a year
    ra, dec = ra + pmra * years / math.cos(math.radians(dec)), dec + pmdec * years
    (campaign.folder / "variables.csv").write_text(f"name,ra,dec,type\nRR Exm,{ra},{dec},RRAB\n")
    campaign.append('[variables]\nplugin = "mine"\n[variables.mine]\npath = "variables.csv"\n')
    campaign.done()
    assert letter not in measured(campaign)
    assert not campaign.pending()
    status = campaign.status()
    (note,) = [d for d in status["doubts"] if d["kind"] == "known_variable"]
    assert f"take no part in the photometry: {letter} is RR Exm (RRAB, 0.0 arcsec away)" in note["text"]
    assert campaign.lcf("report", campaign.project).code == 0
    page = (campaign.folder / "report" / "index.html").read_text()
    assert "Known variables among the reference stars" in page
    assert "RR Exm (RRAB" in page

    campaign.edit('plugin = "mine"\n', 'plugin = "mine"\nkeep = true\n')
    campaign.done()
    assert measured(campaign) == before

    chart = {"chartid": "X123ABC", "photometry": [{"auid": "000-EXM-001", "ra": ra, "dec": dec, "label": "118"}]}
    (campaign.folder / "chart.json").write_text(json.dumps(chart))
    campaign.append('[sequence]\npath = "chart.json"\n')
    assert not campaign.pending()
    out = campaign.folder / "sent"
    ended = campaign.lcf("export", campaign.project, "--format", "aavso", "-o", "observer=ABC", "--output", out)
    assert ended.code == 0, ended.err
    lines = next(out.iterdir()).read_text().splitlines()
    rows = [line.split(",") for line in lines if line[0] != "#"]
    assert rows
    assert {(row[9], row[13]) for row in rows} == {("000-EXM-001", "X123ABC")}
