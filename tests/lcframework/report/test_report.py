from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import Markup

from lcframework import Project
from lcframework.hookspecs import hookimpl
from lcframework.plugins import Plugins
from lcframework.report import html, write_report
from lcframework.report.builtin_panels.light_curves import LightCurves
from lcframework.report.charts import histogram
from lcframework.report.results import read_results
from lcframework.types import LcfError

VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """A page's elements, texts of cells, and charts."""

    def __init__(self, text):
        super().__init__()
        self.stack, self.unbalanced, self.elements, self.charts, self.scripts = [], [], [], [], 0
        self.tables, self.text, self._script = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.elements.append((tag, attrs))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "script":
            self._script = attrs.get("class", "code")
            self.scripts += 1
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        if tag == "tr":
            self.tables[-1]["rows"].append([])
        if tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "script":
            if self._script == "figure":
                self.charts.append(json.loads(data))
            return
        if self.stack and self.stack[-1] == "style":
            return
        self.text += data
        if self.tables and "caption" in self.stack:
            self.tables[-1]["caption"] += data
        elif self.tables and self.tables[-1]["rows"] and self.tables[-1]["rows"][-1] and "table" in self.stack:
            self.tables[-1]["rows"][-1][-1] += data

    def table(self, caption):
        return next(t["rows"] for t in self.tables if t["caption"].startswith(caption))


@pytest.fixture(scope="module")
def text(tiny):
    path = write_report(tiny.project)
    assert path == tiny.project.workdir / "report" / "index.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_light_curves_are_those_of_the_table(tiny, page):
    curve = tiny.project.light_curve("Q")
    magnitudes, fluxes = page.charts[:2]
    for instrument, group in (("CamA", "CamA r"), ("CamB", "CamB g")):
        mine = curve[curve["instrument"] == instrument]
        rows = [t for t in fluxes["data"] if t["name"] == group]
        assert len(rows) == 4
        for trace, source in zip(rows, "ABCD", strict=True):
            np.testing.assert_allclose(trace["x"], mine["mjd"].value, rtol=1e-10)
            np.testing.assert_allclose(trace["y"], mine[f"{source}_flux"].value, rtol=1e-9)
            np.testing.assert_allclose(trace["error_y"]["array"], mine[f"{source}_d_flux"].value, rtol=1e-9)
            assert f"{source}: " in trace["text"][0]
            assert "seeing" in trace["text"][0]
            assert "χ² 0.90" in trace["text"][0]
        rows = [t for t in magnitudes["data"] if t["name"] == group and "error_y" in t]
        for trace, source in zip(rows, "ABCD", strict=True):
            good = mine[f"{source}_flux"] >= 3 * mine[f"{source}_d_flux"]
            np.testing.assert_allclose(trace["y"], mine[f"{source}_mag"].value[good], rtol=1e-9)
            down, up = (mine[f"{source}_d_mag_{d}"].value[good] for d in ("down", "up"))
            np.testing.assert_allclose(trace["error_y"]["array"], down, rtol=1e-9)
            np.testing.assert_allclose(trace["error_y"]["arrayminus"], up, rtol=1e-9)
    assert magnitudes["layout"]["yaxis"]["autorange"] == "reversed"
    assert fluxes["layout"]["yaxis4"]["title"]["text"].startswith("<b>D</b>")


def test_a_flux_below_zero_is_an_upper_limit(tiny, page):
    limits = [t for t in page.charts[0]["data"] if t["marker"]["symbol"] == "triangle-down-open"]
    assert len(limits) == 2  # source D in the first epoch of each group
    error = np.hypot(4.0, 2e-3)  # of the fit, and 1e-3 of a flux of -2
    np.testing.assert_allclose(limits[0]["y"], [24.5 - 2.5 * np.log10(3 * error)], rtol=1e-8)


def test_upper_limits_are_those_of_the_table(tiny):
    results = read_results(tiny.project)
    curve = results.light_curves["Q"]
    curve["D_mag_limit"].value[0] = 22.0
    shown = Page(LightCurves(results).render(tiny.project))
    [limit] = [t for t in shown.charts[0]["data"]
               if t["marker"]["symbol"] == "triangle-down-open" and t["name"] == "CamA r"]  # fmt: skip
    assert limit["y"] == [22.0]
    assert limit["text"][0].endswith("<br>upper limit, 3 σ")
    assert "of the normalization, and the scatter that the comparison stars show beyond these" in shown.text


def test_epochs_with_flags_are_outlined(page):
    symbols = page.charts[1]["data"][0]["marker"]["symbol"]
    assert symbols[0].endswith("-open")  # low signal of D
    assert symbols[1] == "circle"
    assert symbols[-1].endswith("-open")  # a chi2 of 1.6
    assert "flags: high chi2" in page.charts[1]["data"][0]["text"][-1]


def test_every_file_is_accounted_for(page):
    rows = {r[0]: r for r in page.table("12 files")[1:]}
    assert len(rows) == 12
    assert rows["frame_01.fits"][1] == "measured"
    assert rows["frame_06.fits"][1] == "not in the light curve"
    assert rows["frame_06.fits"][-1] == "seeing_arcseconds = 3.4 lies outside [roi_cutouts] frames: [0, 3]"
    assert rows["broken.fits"][1:] == ["eliminated", *["–"] * 7, "the FITS file ends early <here>"]
    assert rows["away.fits"][1] == "set aside"
    assert rows["new.fits"][1] == "found"
    reasons = page.table("Frames that are not in the light curve")[1:]
    assert sum(int(r[2]) for r in reasons) == 4
    assert "8 of 12" in page.text
    unusable = page.table("Unusable inputs")
    assert unusable[1] == ["broken.fits", "Import", "the FITS file ends early <here>"]


def test_coefficients_zero_points_and_chi2_are_the_databases(tiny, page):
    by_label = {a.get("aria-label"): i for i, a in enumerate(a for t, a in page.elements if a.get("class") == "plot")}
    chart = page.charts[by_label["Normalization coefficients of 9 frames"]]
    trace = chart["data"][0]
    np.testing.assert_allclose(trace["y"], [tiny.coefficient[i] for i in range(1, 7)], rtol=1e-9)
    np.testing.assert_allclose(trace["error_y"]["array"], 1e-3 * np.array(trace["y"]), rtol=1e-8)
    chart = page.charts[by_label["Residuals of the zero point's stars against magnitude"]]
    # The catalogue is off by 10 mmag times the star's number, and levels by nothing.
    np.testing.assert_allclose(sorted(chart["data"][0]["y"]), 0.01 * np.arange(-2, 3), atol=1e-9)
    chart = page.charts[by_label["Reduced chi-squared of PSFs and epochs"]]
    np.testing.assert_allclose(chart["data"][0]["y"], 1 + 0.01 * np.arange(1, 7), rtol=1e-9)
    chart = page.charts[by_label["Registration offsets of each epoch"]]
    expected = tiny.fits["CamA"].fit.translation[:, 0]
    np.testing.assert_allclose(chart["data"][0]["y"], expected, rtol=1e-8)
    assert "24.5000 ± 0.0060 mag (AB)" in page.text


def test_the_page_is_whole_and_accessible(page, text):
    assert page.unbalanced == []
    assert page.stack == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for t, a in page.elements if t == "a" and a["href"].startswith("#")]
    assert set(targets) <= set(ids)
    assert all(a.get("alt") for t, a in page.elements if t == "img")
    assert all(a.get("aria-label") for _, a in page.elements if a.get("role") == "img")
    assert all(a.get("scope") for t, a in page.elements if t == "th")
    assert all(t["caption"] for t in page.tables)
    assert next(a for t, a in page.elements if t == "html")["lang"] == "en"
    assert "prefers-color-scheme: dark" in text


def test_the_page_asks_for_nothing(page, text):
    loading = [a.get(k, "") for t, a in page.elements for k in ("src", "href", "srcset", "action", "data") if k in a]
    assert all(v.startswith(("data:image/png", "#", "../prepared_roi_cutouts/", "../plots/")) for v in loading)
    assert text.count("* plotly.js v") == 1
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_who_did_what_is_told(page):
    rows = {r[0]: r for r in page.table("Who did what")[1:]}
    assert rows["psf"][2] == "starred"
    assert rows["roi_model"][2] == "joint"
    assert '"subsampling_factor": 2' in rows["psf"][-1]
    stages = {r[1]: r for r in page.table("Stages")[1:]}
    assert stages["read_convert_skysub_character_catalog"][2:] == ["10", "1", "5.5"]


def test_panels_of_plugins_are_appended_and_may_fail(fresh):
    class Good:
        title = "Mine"

        def render(self, project):
            return html.paragraph(f"{project.config.project.name} & more")

    class Bad:
        title = "Broken"

        def render(self, project):
            raise ValueError("no <data>")

    class Unmakeable(Bad):
        def __init__(self):
            raise RuntimeError("never made")

    @hookimpl
    def lcf_report_panels():
        return {"a-good": Good, "b-bad": Bad, "c-unmakeable": Unmakeable}

    fresh.project.plugins = Plugins([("mine", "test 1", lambda: SimpleNamespace(lcf_report_panels=lcf_report_panels))])
    text = write_report(fresh.project).read_text(encoding="utf-8")
    page = Page(text)
    assert "TINY & more" in page.text
    assert (
        "This panel failed: lcf_report_panels b-bad (mine of test 1): render raised ValueError: no <data>" in page.text
    )
    assert (
        "This panel can't be made: lcf_report_panels c-unmakeable (mine of test 1): __init__ raised RuntimeError: never"
        in page.text
    )
    assert page.unbalanced == []
    assert len(page.charts) > 5
    order = [page.text.index(t) for t in ("How it was made", "Mine", "Broken")]
    assert order == sorted(order)


def test_a_project_that_never_ran_is_told_so(fresh, tmp_path, plugins):
    empty = tmp_path / "empty"
    (empty / "raw").mkdir(parents=True)
    for name in ("project.toml", "stars.ecsv"):
        (empty / name).write_bytes((fresh.project.workdir / name).read_bytes())
    with pytest.raises(LcfError, match=r"`lcf run project.toml` comes first"):
        write_report(Project.open(empty / "project.toml", plugins))


def test_a_run_that_only_began_has_a_report(fresh, tmp_path, plugins):
    empty = tmp_path / "empty"
    (empty / "raw").mkdir(parents=True)
    for name in ("project.toml", "stars.ecsv"):
        (empty / name).write_bytes((fresh.project.workdir / name).read_bytes())
    project = Project.open(empty / "project.toml", plugins)
    project.engine()
    page = Page(write_report(project).read_text(encoding="utf-8"))
    assert "There is no light curve yet" in page.text
    assert "This panel failed" not in page.text
    assert page.charts == []


def test_values_become_json():
    value = {"a": np.array([1.5, np.nan]), "b": np.int64(3), "c": [np.bool_(True), None], "d": (np.inf, "x")}
    assert html.plain(value) == {"a": [1.5, None], "b": 3, "c": [True, None], "d": [None, "x"]}
    assert html.plain(60360.24234657408) == 60360.242347


def test_text_can_not_end_a_charts_script():
    made = html.chart({"data": [{"name": "</script><b>"}], "layout": {}}, 'a "label"', "1 < 2")
    assert re.findall("</script>", made) == ["</script>"]
    assert Page(str(made)).charts[0]["data"][0]["name"] == "</script><b>"
    assert isinstance(made, Markup)


def test_histogram_keeps_every_value():
    middles, density, width = histogram(np.array([-9.0, 0.1, 0.2, 7.0, np.nan]), -5, 5, 10)
    assert width == 1.0
    np.testing.assert_allclose(density, np.array([1, 0, 0, 0, 0, 2, 0, 0, 0, 1]) / 4)
    assert middles[0] == -4.5
