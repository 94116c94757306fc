"""The answer of `lcf why` that its page shows is that of this version of the plugins."""

from __future__ import annotations

import re

import pages
import pytest

#: By the heading above a line: the hook of the plugin that it names, in the order of the lines.
HOOKS = {
    "Header": ["lcf_header_parsers"],
    "Sky": ["lcf_background_estimators"],
    "WCS": ["lcf_plate_solvers"],
    "Reference stars": ["lcf_star_catalogs", "lcf_photometry"],
    "PSF": ["lcf_psf_models"],
    "Normalization": ["lcf_normalizations"],
    "Zero point": ["lcf_calibration_surveys"],
    "Model of the region": ["lcf_roi_models"],
}


@pytest.mark.parametrize("heading", HOOKS)
def test_results_versions_are_those_of_the_plugins(heading: str) -> None:
    section = pages.read("why.md").split(f"\n{heading}\n", 1)[1].split("\n\n", 1)[0]
    shown = re.findall(r"^  [a-z ]+?  +(\S+) of lcframework \S+, results version (\d+)", section, re.MULTILINE)
    plugins, named = pages.builtin_plugins(), zip(shown, HOOKS[heading], strict=True)
    assert shown == [(name, str(plugins.get(hook, name).cls.results_version)) for (name, _), hook in named]
