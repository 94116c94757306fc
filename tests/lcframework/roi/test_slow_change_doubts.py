"""When slow changes of the comparison stars are told beside a region's light curve."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from lcframework.roi.epochs import filled
from lcframework.roi.slow_change_doubts import slow_change_doubts
from lcframework.types import FitState, FitStatus, HighResolution, RoiFit, Severity


def fit(errors: list[float]) -> RoiFit:
    """Return a fit of three epochs of sources of 100 e-/s with these errors."""
    e, k = 3, len(errors)
    return RoiFit(
        flux=np.full((e, k), 100.0), covariance=np.broadcast_to(np.diag(np.square(errors)), (e, k, k)).copy(),
        common_covariance=np.zeros((e, k, k)), offset=np.zeros((k, 2)), offset_covariance=np.eye(2 * k),
        translation=np.zeros((e, 2)),
        high_resolution=HighResolution(np.zeros((4, 4)), np.zeros((4, 4)), np.ones((2, 3))),
        model=np.zeros((e, 4, 4)), outliers=np.zeros((e, 4, 4), bool), reduced_chi2=np.ones(e),
        status=FitStatus(FitState.CONVERGED, 12, ""),
    )  # fmt: skip


@pytest.mark.parametrize(("slow", "severity"), [(0.002, None), (0.003, Severity.NOTE), (0.006, Severity.DOUBT)])
def test_by_the_best_source_s_error(slow: float, severity: Severity | None) -> None:
    """An epoch of B has an error of 0.5 %: 0.3 % of the fit and 0.4 % that the stars show."""
    columns = filled(3, relative_normalization_error=0.0, relative_extra_scatter=0.004, relative_slow_scatter=slow)
    found = list(slow_change_doubts("T cam r", ["A", "B"], columns, fit([2.0, 0.3])))
    assert [d.severity for d in found] == ([] if severity is None else [severity])
    for doubt in found:
        assert doubt.kind == "slow_changes"
        assert f"change slowly by {1000 * slow:.2g} ppt beyond their errors" in doubt.text
        assert "where an epoch of B has an error of 5 ppt" in doubt.text


def test_where_nothing_tells_them_there_is_none() -> None:
    columns = filled(3, relative_normalization_error=0.0, relative_extra_scatter=0.004)
    assert list(slow_change_doubts("T cam r", ["A"], columns, fit([0.3]))) == []
    hidden = attrs.evolve(fit([0.3]), flux=np.full((3, 1), np.nan))
    told = {**columns, "relative_slow_scatter": np.full(3, 0.1)}
    assert list(slow_change_doubts("T cam r", ["A"], told, hidden)) == []
