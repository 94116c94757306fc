"""The window of the report that shows where a number comes from."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from lcframework.report import write_report
from lcframework.report.builtin_panels.ancestries import packed


@pytest.fixture(scope="module")
def text(tiny):
    return write_report(tiny.project).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def content(text):
    data = re.search(r'<script type="text/plain" id="ancestry-data">([^<]*)</script>', text)[1]
    return json.loads(gzip.decompress(base64.b64decode(data)))


def lines(section):
    return {label: words for label, words, *_ in section[1]}


def test_every_point_of_a_light_curve_names_its_number(tiny, text, content):
    charts = [json.loads(c) for c in re.findall(r'<script type="application/json" class="figure">(.*?)</script>', text)]
    traces = [t for c in charts for t in c["data"] if "customdata" in t]
    curve = tiny.project.light_curve("Q")
    named = {(*t["meta"], int(i)) for t in traces for i in t["customdata"]}
    assert named == {("Q", s, int(i)) for s in "ABCD" for i in curve["frame_id"]}
    assert all(len(t["customdata"]) == len(t["x"]) for t in traces)
    assert content["sources"] == [["Q", s] for s in "ABCD"]


def test_the_numbers_are_those_of_the_table(tiny, content):
    curve = tiny.project.light_curve("Q")
    for row in curve:
        number = content["own"]["Q"]["B"][str(row["frame_id"])][0]
        assert number[0] == "The number"
        flux = float(re.match(r"(-?[\d.]+) ±", lines(number)["flux"])[1])
        assert flux == pytest.approx(row["B_flux"].value, rel=1e-4)


def test_frames_that_all_sources_share_are_told_once(content):
    before, after = content["shared"]["Q"]["2"]
    titles = [title for title, _ in (*before, *after)]
    assert titles[0] == "Raw file"
    assert {"Reference stars", "PSF", "Normalization", "Zero point", "Flags and doubts"} <= set(titles)
    assert "5 of 5 stars" in lines(next(s for s in before if s[0] == "Reference stars"))["used"]


def test_files_without_a_number_say_why(content):
    listed = {text.partition(",")[0]: (str(i), having) for i, text, having in content["frames"]}
    reasons = {"broken.fits": "the FITS file ends early <here>", "away.fits": "", "new.fits": "not imported yet"}
    for name, reason in reasons.items():
        frame_id, having = listed[name]
        answer = content["own"]["Q"]["A"][frame_id][0]
        assert having == []
        assert answer[0] == "There is no such number"
        assert reason in lines(answer)["because"]
    frame_id, _ = listed["frame_06.fits"]
    assert "seeing_arcseconds = 3.4 lies outside" in lines(content["own"]["Q"]["A"][frame_id][0])["because"]


def test_it_costs_little_and_loads_nothing(tiny, content):
    size = len(packed(content)) / len(content["frames"])
    assert size < 2_000  # bytes a file, of four sources
    assert "http" not in json.dumps(content)


def test_without_a_light_curve_there_is_no_window(fresh):
    (fresh.project.workdir / "prepared_roi_cutouts" / "Q_photometry_per_epoch.ecsv").unlink()
    assert 'id="ancestry-data"' not in write_report(fresh.project).read_text(encoding="utf-8")
