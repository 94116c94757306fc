"""The built-in classes are recognised by the optional abilities that they have."""

from __future__ import annotations

from typing import Any

import pytest

from lcframework import protocols
from lcframework.plugins import SEAMS, Plugins
from plugins_builtin.solvers.existing import ExistingWcs

NETWORK = {"stars.gaia", "stars.vizier", "calibration.panstarrs", "plate_solving.nova", "variables.vsx"}


@pytest.fixture(scope="module")
def instances() -> dict[str, Any]:
    """Return every built-in class of a seam but exporters, with its default options, by section and name."""
    plugins = Plugins.installed()
    return {
        f"{seam.section}.{offer.name}": offer.cls()
        for seam in SEAMS
        for offer in plugins.offers(seam.hook)
        if seam.section and offer.cls.__module__.startswith("plugins_builtin.")
    }


@pytest.mark.parametrize(
    ("ability", "expected"),
    [
        (protocols.HasTimeReference, {"header.fits"}),
        (protocols.NeedsPosition, {"plate_solving.existing", "plate_solving.reference-frame"}),
        (
            protocols.NeedsStars,
            {f"plate_solving.{name}" for name in ("astrometry-net", "catalog", "existing", "nova", "wheel")},
        ),
        (protocols.NeedsReference, {"plate_solving.reference-frame"}),
        (protocols.NamesReference, {"plate_solving.reference-frame"}),
        (protocols.FitsInBatches, {"psf.starred"}),
        (protocols.WarmsUp, {"psf.starred"}),
        (protocols.MeasuresApertures, {"photometry.starred", "roi_model.joint", "roi_model.starred"}),
        (protocols.MeasuresInDiscs, {"photometry.aperture"}),
        (protocols.AppliesDiscs, {"roi_model.aperture"}),
        (protocols.UsesNetwork, NETWORK),
        (protocols.KeepsCache, NETWORK),
        (protocols.HasOperational, NETWORK),
    ],
)
def test_who_has_an_ability(ability: type[Any], expected: set[str], instances: dict[str, Any]) -> None:
    assert {name for name, instance in instances.items() if isinstance(instance, ability)} == expected


def test_all_have_a_version(instances: dict[str, Any]) -> None:
    assert all(isinstance(instance, protocols.HasVersion) for instance in instances.values())


def test_operational_options_exist(instances: dict[str, Any]) -> None:
    for instance in instances.values():
        if isinstance(instance, protocols.HasOperational):
            assert isinstance(instance.operational, frozenset)
            assert any(hasattr(instance, option) for option in instance.operational)


@pytest.mark.parametrize(("refine", "needed"), [(True, True), (False, False)])
def test_a_solver_needs_stars_where_an_option_says_so(refine: bool, needed: bool) -> None:
    solver = ExistingWcs(refine=refine)
    assert isinstance(solver, protocols.NeedsStars)
    assert solver.needs_stars is needed
