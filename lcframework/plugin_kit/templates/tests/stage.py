from typing import Any

import numpy as np

from lcframework.plugin_kit.templates.stage import PluginClass, PluginClassTask
from lcframework.testing import check_stage


def test_it_works_on_a_finished_project() -> None:
    check_stage(PluginClass)


def test_scatter_beyond_the_errors_is_found() -> None:
    flux = 100.0 + 5.0 * np.random.default_rng(1).normal(size=2000)
    toolbox: Any = None  # compute needs no project
    task = PluginClassTask("plugin_name", toolbox, fewest=3)
    answer = task.compute({"A": (list(flux), [3.0] * len(flux)), "B": (list(flux), [5.5] * len(flux))})
    assert abs(answer["A"] - 0.04) < 0.003
    assert answer["B"] == 0.0
