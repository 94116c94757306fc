"""Checks of plate solvers, star catalogues and calibration surveys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lcframework.protocols import CalibrationSurvey, PlateSolver, StarCatalog, VariableCatalog
from lcframework.sky.geometry import separation
from lcframework.testing.conformance import scenes
from lcframework.testing.conformance.contract import Array, check_plugin_class, check_table, name_of, refused, require
from lcframework.types import (
    MAGNITUDES,
    STARS,
    VARIABLES,
    CatalogLimits,
    NeedMissing,
    NotSolved,
    PlateSolution,
    Region,
    SolveHint,
    UnusableInput,
)


def check_plate_solver(plugin: Any, *, solves: bool = True, tolerance: float = 0.5) -> None:
    """Check a plate solver on a field in mid-sky, one over RA 0, and one where nothing can be solved.

    Parameters
    ----------
    plugin : PlateSolver
        The plugin.
    solves : bool
        Whether it must solve a field of which everything is known: position, scale, catalogue stars, a valid WCS in the
        header, and a solved reference frame. False for solvers that need more, such as index files for that position.
    tolerance : float
        Largest rms in pixels between the solution and the truth. A solution that is wrong is worse than none.
    """
    check_plugin_class(plugin, PlateSolver)
    who = name_of(plugin)
    for ra, dec in ((150.0, -28.0), (359.98, 62.0)):
        scene = scenes.field(ra, dec)
        header = fits.Header([("NAXIS", 2), ("NAXIS1", scene.shape[1]), ("NAXIS2", scene.shape[0])])
        header.update(scene.header)
        hint = SolveHint(ra, dec, 0.3, (0.38, 0.42), header, scene.stars, scene.sources, scene.header)
        answer = plugin.solve(scene.sources, scene.shape, hint)
        _check_answer(answer, who)
        if isinstance(answer, NotSolved):
            require(not solves, who, f"did not solve an easy field at RA {ra:g}: {answer.reason}")
            continue
        _check_solution(answer, scene, who, tolerance)
    nothing = scenes.field().sources[:0]
    try:
        answer = plugin.solve(nothing, (900, 1000), SolveHint())
    except (NeedMissing, UnusableInput):
        return
    _check_answer(answer, who)
    require(isinstance(answer, NotSolved), who, "claims to have solved a frame without sources, header or hint")


def _check_answer(answer: Any, who: str) -> None:
    require(
        isinstance(answer, PlateSolution | NotSolved),
        who,
        f"solve returned a {type(answer).__name__}, not a PlateSolution or NotSolved",
    )
    if isinstance(answer, NotSolved):
        require(answer.reason.strip(), who, "NotSolved must state why, so that the user can act on it")


def _check_solution(answer: PlateSolution, scene: scenes.Field, who: str, tolerance: float) -> None:
    require(isinstance(answer.header, fits.Header), who, "a solution's header must be a fits.Header")
    wcs = WCS(answer.header)
    require(wcs.has_celestial, who, "the solution's header holds no celestial WCS")
    x, y = np.meshgrid(np.linspace(0, scene.shape[1] - 1, 7), np.linspace(0, scene.shape[0] - 1, 7))
    ra, dec = scene.wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    u, v = wcs.all_world2pix(ra, dec, 0)
    rms = float(np.sqrt(np.mean((u - x.ravel()) ** 2 + (v - y.ravel()) ** 2)))
    require(rms < tolerance, who, f"the solution is {rms:.2f} pixels off the true WCS (rms)")
    require(answer.matched >= 0, who, f"matched must be 0 (unknown) or a number of stars, got {answer.matched}")


def check_star_catalog(
    plugin: Any, region: Region, limits: CatalogLimits | None = None, expected: set[str] | None = None
) -> None:
    """Check a star catalogue.

    Parameters
    ----------
    plugin : StarCatalog
        The plugin.
    region : Region
        A region in which the catalogue has some stars.
    limits : CatalogLimits, optional
        Limits that select some of these stars.
    expected : set of str, optional
        The `source_id` of the stars that it must return, and of no others.
    """
    check_plugin_class(plugin, StarCatalog)
    who = name_of(plugin)
    everything = plugin.query(region, CatalogLimits())
    _check_stars(everything, region, CatalogLimits(), who)
    require(len(everything), who, "returned no star of a region where it should know some")
    limits = limits or CatalogLimits(magnitude=(-np.inf, float(np.median(everything["magnitude"]))))
    some = plugin.query(region, limits)
    _check_stars(some, region, limits, who)
    names, all_names = set(map(str, some["source_id"])), set(map(str, everything["source_id"]))
    require(names <= all_names, who, "a limit brought stars that were not there without it")
    if expected is not None:
        require(
            names == expected, who, f"lacks {sorted(expected - names)} and should not have {sorted(names - expected)}"
        )
    again = plugin.query(region, limits)
    require(list(again["source_id"]) == list(some["source_id"]), who, "gives another order when asked again")
    elsewhere = Region((region.ra + 180.0) % 360.0, -region.dec, min(region.radius, 1e-3))

    def ask_elsewhere() -> None:
        table = plugin.query(elsewhere, limits)
        _check_stars(table, elsewhere, limits, who)

    refused(ask_elsewhere, who, "a region without stars")


def _check_stars(table: Any, region: Region, limits: CatalogLimits, who: str) -> None:
    check_table(table, STARS, who)
    if not len(table):
        return
    require(table["source_id"].dtype.kind in "UO", who, "source_id must be strings: 64-bit numbers lose digits in JSON")
    for name in ("ra", "dec", "magnitude", "ref_epoch"):
        require(np.all(np.isfinite(table[name])), who, f"the column {name} has values that are not finite")
    epoch = np.asarray(table["ref_epoch"], float)
    require(np.all((epoch > 1800) & (epoch < 2100)), who, "ref_epoch must be a Julian year, such as 2016.0")
    distance = _from_centre(table, region)
    require(
        distance.max() <= region.radius * 1.001 + 1e-6, who, f"a star is {distance.max():.4f} degrees from the centre"
    )
    magnitude = np.asarray(table["magnitude"], float)
    low, high = limits.magnitude
    require(np.all((magnitude >= low) & (magnitude <= high)), who, f"stars outside the magnitudes {low:g} to {high:g}")
    if "astrometric_excess_noise" in table.colnames:
        noise = np.asarray(table["astrometric_excess_noise"], float)
        require(not np.any(noise > limits.max_astrometric_excess_noise), who, "stars beyond the limit of excess noise")


def _from_centre(table: Table, region: Region) -> Array:
    """Return the distance (n,) of stars from the centre of a region, degrees."""
    return separation(np.asarray(table["ra"], float), np.asarray(table["dec"], float), region.ra, region.dec) / 3600.0


def check_variable_catalog(plugin: Any, region: Region, expected: set[str] | None = None) -> None:
    """Check a catalogue of variable stars.

    Parameters
    ----------
    plugin : VariableCatalog
        The plugin.
    region : Region
        The region that it is asked for.
    expected : set of str, optional
        The names of the stars that it must return, and of no others.
    """
    check_plugin_class(plugin, VariableCatalog)
    who = name_of(plugin)
    found = plugin.variables(region)
    check_table(found, VARIABLES, who)
    distance = _from_centre(found, region)
    require(np.all(distance <= region.radius * 1.001 + 1e-6), who, "returned stars outside of the region")
    names = set(map(str, found["name"]))
    if expected is not None:
        require(
            names == expected, who, f"lacks {sorted(expected - names)} and should not have {sorted(names - expected)}"
        )
    elsewhere = Region((region.ra + 180.0) % 360.0, -region.dec, min(region.radius, 1e-3))
    try:
        check_table(plugin.variables(elsewhere), VARIABLES, who)
    except NeedMissing:
        return


def check_calibration_survey(
    plugin: Any,
    stars: Table | None = None,
    band: str = "r_sdss",
    expected: Mapping[str, float] | None = None,
    tolerance: float = 0.1,
    unknown_band: str | None = "no such band",
) -> None:
    """Check a calibration survey.

    Parameters
    ----------
    plugin : CalibrationSurvey
        The plugin.
    stars : Table, optional
        Stars that the survey contains, as from a star catalogue; where None, a simulated field with BP and RP.
    band : str
        A band of the survey.
    expected : mapping, optional
        True magnitudes by `source_id`; each must be returned, to `tolerance` mag and six stated errors.
    unknown_band : str, optional
        A band that it must refuse; None for a survey that reads a table of the user and accepts any name.
    """
    check_plugin_class(plugin, CalibrationSurvey)
    who = name_of(plugin)
    stars = scenes.field().stars if stars is None else stars
    asked = [str(s) for s in stars["source_id"]]
    answer = plugin.magnitudes(stars, band)
    _check_magnitudes(answer, set(asked), who)
    require(len(answer), who, f"knows none of the {len(asked)} stars in the band {band!r}")
    given = _by_star(answer)
    turned = _by_star(plugin.magnitudes(stars[::-1], band))
    same = given.keys() == turned.keys() and all(given[k] == turned[k] for k in given)
    require(same, who, "answers differently when the stars come in another order: match rows by source_id or position")
    for star, magnitude in (expected or {}).items():
        require(star in given, who, f"has no magnitude for the star {star}")
        value, error = given[star]
        off = abs(value - magnitude)
        require(
            off < tolerance and off < 6 * error, who, f"star {star}: {value:.3f} +- {error:.3f}, true {magnitude:.3f}"
        )
    if unknown_band is not None:
        require(
            refused(lambda: plugin.magnitudes(stars, unknown_band), who, "a band that does not exist"),
            who,
            "answers for a band that does not exist; raise UnusableInput, naming the bands there are",
        )
    refused(lambda: _check_magnitudes(plugin.magnitudes(stars[:0], band), set(), who), who, "no stars at all")


def _check_magnitudes(table: Any, asked: set[str], who: str) -> None:
    check_table(table, MAGNITUDES, who)
    system = table.meta.get("system")
    require(system in ("AB", "Vega"), who, f"meta['system'] must be 'AB' or 'Vega', got {system!r}")
    strange = set(map(str, table["source_id"])) - asked
    require(not strange, who, f"returned stars that were not asked for: {', '.join(sorted(strange)[:3])}")
    if not len(table):
        return
    require(np.all(np.isfinite(table["mag"])), who, "magnitudes that are not finite; leave such stars out")
    error = np.asarray(table["mag_err"], float)
    require(
        np.all(np.isfinite(error) & (error > 0)), who, "mag_err must be positive: a star without an error has a guess"
    )
    if "colour" in table.colnames:
        require(
            table.meta.get("colour"), who, "has a column of colours, but meta['colour'] does not state which colour"
        )


def _by_star(table: Table) -> dict[str, tuple[float, float]]:
    return {str(row["source_id"]): (float(row["mag"]), float(row["mag_err"])) for row in table}
