"""docs/tutorial.ipynb runs to its end as it stands, and its light curves agree with the truth."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from astropy.table import QTable
from scipy import stats

from lcframework import Project
from lcframework.stages import CHAIN
from lcframework.testing.campaign import read_truth

NOTEBOOK = pages.DOCS / "tutorial.ipynb"
CONTENT: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in CONTENT["cells"] if cell["cell_type"] == "code"]

# Spawned processes import the script, hence the guard.
SCRIPT = """
import json, sys

if __name__ == "__main__":
    cells = json.load(open(sys.argv[1], encoding="utf-8"))
    namespace = {"__name__": "__main__"}
    for number, source in enumerate(cells):
        exec(compile(source, f"<code cell {number}>", "exec"), namespace)
    pulls = {name: list(values) for name, values in namespace["pulls"].items()}
    result = {"folder": str(namespace["folder"]), "done_again": namespace["project"].run().units_done, "pulls": pulls}
    json.dump(result, open(sys.argv[2], "w", encoding="utf-8"))
"""


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


def test_it_runs_and_agrees_with_the_truth(tmp_path: Path) -> None:
    pytest.importorskip("galsim")
    (tmp_path / "cells.json").write_text(json.dumps(CODE), encoding="utf-8")
    (tmp_path / "tutorial.py").write_text(SCRIPT, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "tutorial.py", "cells.json", "result.json"], cwd=tmp_path, capture_output=True, text=True,
        timeout=300, env=os.environ | {"MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["done_again"] == 0

    folder = Path(result["folder"])
    assert folder.parent == tmp_path
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
        np.testing.assert_allclose(result["pulls"][name], pulls, atol=1e-6)
        chi2 += float(np.sum(pulls**2))
        zeropoint = 0.4 * np.log(10) * float(curve["zeropoint_error"][0].value)
        uncertainty = np.sqrt(1 / weight.sum() + zeropoint**2 + np.mean(common / expected) ** 2)
        assert abs(level - 1) < 4 * uncertainty
    # The levels took a degree of freedom a source.
    freedom = len(truth.targets) * (len(curve) - 1)
    assert 1e-3 < stats.chi2.sf(chi2, freedom) < 1 - 1e-3
