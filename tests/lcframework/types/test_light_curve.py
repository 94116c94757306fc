"""The declared columns of light curves."""

from __future__ import annotations

import pytest

from lcframework.types import (
    EPOCH_COLUMNS,
    NIGHT_COLUMNS,
    SOURCE_COLUMNS,
    SOURCE_NIGHT_COLUMNS,
    VISIT_COLUMNS,
    CurveColumn,
    column_of,
)


@pytest.mark.parametrize(
    ("of_epochs", "of_means"),
    [(EPOCH_COLUMNS, NIGHT_COLUMNS), (EPOCH_COLUMNS, VISIT_COLUMNS), (SOURCE_COLUMNS, SOURCE_NIGHT_COLUMNS)],
)
def test_a_shared_name_has_the_unit_and_quantity_of_an_epoch(
    of_epochs: tuple[CurveColumn, ...], of_means: tuple[CurveColumn, ...]
) -> None:
    """So that one look-up by name serves all tables."""
    means = {column.name: column for column in of_means}
    shared = [(column, means[column.name]) for column in of_epochs if column.name in means]
    assert shared
    for epoch, mean in shared:
        assert (epoch.unit, epoch.ucd, epoch.text) == (mean.unit, mean.ucd, mean.text)


def test_a_shared_name_has_the_meaning_of_an_epoch() -> None:
    mjd, flux, count = column_of("mjd"), column_of("A_flux"), column_of("A_count")
    assert mjd in EPOCH_COLUMNS
    assert flux is not None
    assert flux.meaning.startswith("flux of A, normalised")
    assert count is not None
    assert "its mean" in count.meaning
