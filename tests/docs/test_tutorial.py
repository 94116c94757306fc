"""docs/tutorial.ipynb runs to its end as it stands, and its light curves agree with the truth."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pages
import programs
import pytest
from astropy.table import QTable
from scipy import stats

from lcframework import Project
from lcframework.stages import CHAIN
from lcframework.testing.campaign import read_truth

NOTEBOOK = pages.DOCS / "tutorial.ipynb"
CONTENT: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in CONTENT["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_without_outputs() -> None:
    assert (CONTENT["nbformat"], CONTENT["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in CONTENT["cells"]}) == len(CONTENT["cells"])
    for cell in CONTENT["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_every_stage_is_run_in_order() -> None:
    names = [s.name for s in CHAIN]
    steps = re.findall(r'project\.run\((?:start="(\w+)", )?stop="(\w+)"\)', "\n".join(CODE))
    done = 0
    for start, stop in steps:
        assert names.index(start or names[0]) == done, start
        done = names.index(stop) + 1
    assert done == len(names)


def test_the_calls_for_users_of_lightcurver_are_all_stages_and_public_names() -> None:
    rows = pages.section(pages.read("from_lightcurver.md"), "From Python").table()
    calls = [row[1] for row in rows]
    stops = [stop for call in calls for stop in re.findall(r'stop="(\w+)"', call)]
    starts = [start for call in calls for start in re.findall(r'start="(\w+)"', call)]
    assert stops == [s.name for s in CHAIN]
    assert starts == stops[1:]
    names = {name for call in calls for name in re.findall(r"`project\.(\w+)", call)}
    assert names - {"config"} <= set(dir(Project))


@pytest.fixture(scope="module")
def executed() -> Path:
    """Return the folder of the executed notebook: that of the pages, where they were built from the same code."""
    for needed in ("galsim", "nbclient", "ipykernel"):
        pytest.importorskip(needed)
    program = pages.DOCS / "building" / "executed_notebook.py"
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Path(ended.stdout.strip().splitlines()[-1])


def outputs(folder: Path) -> list[str]:
    """Return what each code cell printed and showed, as text."""
    content = json.loads((folder / "executed.ipynb").read_text(encoding="utf-8"))
    texts = []
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            found = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell["outputs"]]
            texts.append("\n".join("".join(text) for text in found))
    return texts


def test_it_runs_to_its_end_and_finds_nothing_to_do_then(executed: Path) -> None:
    printed = outputs(executed)
    assert len(printed) == len(CODE)
    assert printed[CODE.index("project.run().units_done")].strip() == "0"


def test_every_plot_is_shown(executed: Path) -> None:
    content = json.loads((executed / "executed.ipynb").read_text(encoding="utf-8"))
    given = [o.get("data", {}) for c in content["cells"] for o in c.get("outputs", [])]
    shown = [kind for data in given for kind in data if "image" in kind]
    drawn = len(re.findall(r"(?<!def )\bshow\(|plt\.subplots\(", "\n".join(CODE)))
    assert len(shown) == drawn


def test_pages_do_not_say_where_it_ran(executed: Path) -> None:
    text = programs.program("docs", "building.executed_notebook").text_for_pages()
    assert "/tmp/lcf_tutorial_" in text
    assert str(pages.ROOT) not in text


def test_it_agrees_with_the_truth(executed: Path) -> None:
    [folder] = executed.glob("lcf_tutorial_*")
    printed = re.findall(r"^(\w+) measured / true: \S+ pulls: \[([^]]+)\]", "\n".join(outputs(executed)), re.MULTILINE)
    said = {name: [float(value) for value in values.split()] for name, values in printed}
    truth = read_truth(folder)
    curve = QTable.read(folder / "prepared_roi_cutouts" / "QUAD_photometry_per_epoch.ecsv")
    assert len(curve) == 4
    chi2 = 0.0
    for name in truth.targets:
        true = truth.fluxes[truth.fluxes["name"] == name]
        np.testing.assert_allclose(curve["mjd"].value, true["mjd"], atol=1e-6)
        flux, error, common = (np.array(curve[f"{name}_{of}"].value) for of in ("flux", "d_flux", "d_flux_common"))
        expected = 10 ** (0.4 * (np.array(curve["zeropoint"].value) - np.array(true["mag"])))
        weight = (expected / error) ** 2
        level = np.average(flux / expected, weights=weight)
        pulls = (flux - level * expected) / error
        np.testing.assert_allclose(said[name], pulls, atol=0.006)  # they are printed with two decimals
        chi2 += float(np.sum(pulls**2))
        zeropoint = 0.4 * np.log(10) * float(curve["zeropoint_error"][0].value)
        uncertainty = np.sqrt(1 / weight.sum() + zeropoint**2 + np.mean(common / expected) ** 2)
        assert abs(level - 1) < 4 * uncertainty
    # The levels took a degree of freedom a source.
    freedom = len(truth.targets) * (len(curve) - 1)
    assert 1e-3 < stats.chi2.sf(chi2, freedom) < 1 - 1e-3
