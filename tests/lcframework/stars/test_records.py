"""What frames say of stars, over many frames and from their fluxes."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.stages.calculate_normalization_coefficient import with_left_out
from lcframework.stars.choice import FieldStars, UsableStars, chosen_stars, usable_stars
from lcframework.stars.curves import poor_fits, variability
from lcframework.stars.records import Verdicts, judged, no_point_source, star_records
from lcframework.storage.tables import CombinedFootprint, Star, StarInFrame, StarLevel
from lcframework.types import FluxMatrix
from plugins_builtin.normalizations.ensemble import Ensemble


def row(frame: int, comment: str = "", star: str = "s", **more: Any) -> StarInFrame:
    values: dict[str, Any] = {"usable": not comment, "signal_to_noise": 100.0, **more}
    return StarInFrame(frame_id=frame, combined_footprint_hash="h", gaia_id=star, x=0, y=0, comment=comment, **values)


def of_rows(engine: Engine, rows: list[StarInFrame]) -> Verdicts:
    """Return what the database counts of the rows of a star."""
    with Session(engine) as session:
        session.execute(sa.delete(StarInFrame))
        session.add_all(rows)
        session.flush()
        return judged(session)["h", "s"]


def test_verdicts_are_counted_by_kind(engine: Engine):
    seen = [row(1, "edge: 20%"), row(2, "edge: 30%"), row(3, "saturated: 3 pixels"), row(4), row(9, psf_comment="chi2")]
    seen += [row(5, signal_to_noise=None), row(6, "odd: 3", psf_comment="chi2"), row(7, "odd: 4")]
    found = of_rows(engine, seen)
    assert list(found.kinds.items()) == [("edge", 2), ("odd", 2), ("saturated", 1), ("unlike", 1)]
    assert (found.frames, found.usable, found.conclusive) == (7, 2, 2)


def test_a_star_that_most_frames_call_a_double_is_none(engine: Engine):
    def rows(*comments: str) -> Verdicts:
        return of_rows(engine, [row(i, comment) for i, comment in enumerate(comments)])

    assert no_point_source(rows("elongated: 0.3", "blended: x", "")).startswith("no single star in 2 of 3 frames")
    assert no_point_source(rows("elongated: 0.3", "", "")) == ""
    assert no_point_source(rows("elongated: 0.3", "")) == ""  # half is not most
    assert no_point_source(rows("elongated: 0.3")) == ""  # one frame is no habit
    # Frames where it is saturated or at the edge say nothing of what it is.
    assert no_point_source(rows("saturated: 3", "saturated: 3", "edge: 3", "", "")) == ""
    assert no_point_source(rows("saturated: 3", "extended: 3", "extended: 3", ""))
    dropped = [row(i, psf_comment="chi2 3 where the others' median is 1") for i in range(4)]
    assert "unlike" in no_point_source(of_rows(engine, dropped))


def star(name: str, identity: str, distance: float) -> Star:
    return Star(combined_footprint_hash="h", gaia_id=identity, name=name, ra=0, dec=0, pmra=0, pmdec=0, ref_epoch=2016,
                magnitude=17, distance_to_roi_arcsec=distance)  # fmt: skip


def test_records_of_a_database(engine: Engine):
    with Session(engine) as session:
        session.add(CombinedFootprint(hash="h", strategy="roi_disk", rois=["R"], ra=0, dec=0, radius=1))
        for i, name in enumerate(("b", "a", "c")):
            session.add(star(name, name.upper(), float(i)))
        session.add_all([row(1, star="A"), row(2, "edge: 12%", star="A"), row(1, star="B"), row(3, star="B")])
        session.add(row(2, star="B", signal_to_noise=None))  # not judged yet
        level = {"combined_footprint_hash": "h", "instrument": "", "level": 1, "level_error": 0, "intrinsic_scatter": 0}
        session.add(StarLevel(**level, band="r", gaia_id="B", note="variable: much"))
        session.commit()
        records = star_records(session)
        assert [r.name for r in records.values()] == ["a", "b", "c"]
        a, b, c = records.values()
        assert (a.frames, a.usable, a.trouble) == (2, 1, "edge in 1 of 2 frames")
        assert (b.frames, b.usable, b.trouble) == (2, 2, "variable: much")
        assert (c.frames, c.trouble) == (0, "")
        assert star_records(session, {1})["h", "A"].trouble == ""


@pytest.mark.parametrize(
    ("groups", "trouble"),
    [
        ((("Cam", "r"),), "no flux; variable: much"),
        ((("Cam", "g"), ("Cam", "r")), "g: no flux; r: no flux; g: variable: much; r: variable: much"),
        (
            (("CamA", "r"), ("CamB", "r")),
            "CamA r: no flux; CamB r: no flux; CamA r: variable: much; CamB r: variable: much",
        ),
    ],
)
def test_what_every_instrument_and_band_say_of_a_star(engine: Engine, groups: tuple[Any, ...], trouble: str):
    level = {"combined_footprint_hash": "h", "level": 1, "level_error": 0, "intrinsic_scatter": 0}
    with Session(engine) as session:
        session.add(CombinedFootprint(hash="h", strategy="roi_disk", rois=["R"], ra=0, dec=0, radius=1))
        session.add(star("a", "A", 0.0))
        for instrument, band in groups:
            texts = {"comment": "no flux", "note": "variable: much"}
            session.add(StarLevel(**level, **texts, instrument=instrument, band=band, gaia_id="A"))
        session.commit()
        assert star_records(session)["h", "A"].trouble == trouble


def test_nearest_stars_with_enough_signal():
    stars = [star(name, str(i + 1), i + 1) for i, name in enumerate("abcde")]
    near = UsableStars(FieldStars(stars), np.arange(5), np.array([8.0, 90.0, 25.0, 400.0, 60.0]))

    def names(wanted: Any, exclude: Any = ()) -> str:
        return "".join(s.name for s in chosen_stars(near, wanted, list(exclude)))

    assert names(3) == "bcd"
    assert names(10) == "bcde"
    assert names(3, "b") == "cde"
    assert names(["d", "a"]) == "da"  # asked for by name, whatever their signal
    assert names(["d", "b", "z"], "b") == "d"
    assert names(2, "bc") == "ad"  # two are left with enough, too few: the nearest of all


def test_usable_stars_of_frames_nearest_first(engine: Engine):
    with Session(engine) as session:
        session.add(row(1, star="A"))
        assert usable_stars(session) == {}  # no star is in use yet
        session.rollback()
        for field in "gh":
            session.add(CombinedFootprint(hash=field, strategy="roi_disk", rois=[field], ra=0, dec=0, radius=1))
        for name, distance in (("b", 1.0), ("a", 2.0), ("c", 0.0)):
            session.add(star(name, name.upper(), distance))
        gone = star("d", "D", 0.5)
        gone.active = False
        other = star("a", "A", 5.0)
        other.combined_footprint_hash = "g"
        session.add_all([gone, other])
        in_frames = [row(1, star="A", signal_to_noise=8.0), row(1, star="B", signal_to_noise=9.0), row(1, star="D"),
                     row(1, "edge: 1%", star="C"), row(2, "edge: 1%", star="B"), row(2, star="A", signal_to_noise=None),
                     row(3, star="D"), row(3, star="A", signal_to_noise=None)]  # fmt: skip
        elsewhere = row(1, star="A", signal_to_noise=7.0)
        elsewhere.combined_footprint_hash = "g"
        session.add_all([*in_frames, elsewhere])
        session.commit()
        found = {
            key: [(u.field.stars[i].name, s) for i, s in zip(u.which.tolist(), u.signal_to_noise.tolist(), strict=True)]
            for key, u in usable_stars(session).items()
        }
    # Frame 2 is judged and shows none; in frame 3 no star that is in use is judged.
    assert found == {(1, "h"): [("b", 9.0), ("a", 8.0)], (2, "h"): [], (1, "g"): [("a", 7.0)]}


# ---------------------------------------------------------------- fluxes


def fluxes(seed: int, frames: int, stars: int, variable: float = 0.0, noise: float = 0.005) -> FluxMatrix:
    rng = np.random.default_rng(seed)
    level = 10 ** rng.uniform(2, 4, stars)
    true = rng.uniform(0.6, 1.2, frames)[:, None] * level
    if variable:
        true[:, 0] *= 10 ** (-0.4 * variable * np.sin(rng.uniform(0, 2 * np.pi, frames)))
    error = noise * true
    return FluxMatrix(true + error * rng.normal(size=true.shape), error, np.zeros((*true.shape, 2)), (100, 100))


def test_variables_are_named():
    for seed, amplitude in ((1, 0.05), (2, 0.1), (3, 0.2)):
        table = fluxes(seed, 20, 10, amplitude)
        solution = Ensemble().solve(table)
        assert list(variability(solution, table)) == [0] or 0 in solution.rejected
        assert solution.coefficient_uncertainty.max() < 0.005  # the variable has no say


@pytest.mark.parametrize("frames", [4, 8, 30])
def test_constant_stars_are_not_called_variable(frames):
    called = 0
    for seed in range(25):
        table = fluxes(100 + seed, frames, 10, noise=0.02)
        called += len(variability(Ensemble().solve(table), table))
    assert called <= 2  # of 250


def test_poor_point_sources_are_found_and_bright_stars_spared():
    rng = np.random.default_rng(5)
    frames, stars, pixels = 12, 9, 576
    flux = np.ones((frames, 1)) * 10 ** rng.uniform(2.5, 4.5, stars)
    error = np.sqrt(flux + 100.0)
    flux[:, 1] = 1e6  # bright: 1 % of its light misplaced, as of all stars
    error[:, 1] = np.sqrt(1e6)
    share = np.full(stars, 0.01)
    share[0] = 0.15
    chi2 = 1 + share**2 * (flux / error) ** 2 / pixels + np.sqrt(2 / pixels) * rng.normal(size=flux.shape)
    assert chi2[:, 1].mean() > 1.1
    flux[:, 0], error[:, 0] = 1e5, np.sqrt(1e5)
    chi2[:, 0] = 1 + 0.15**2 * 1e5 / pixels
    found = poor_fits(flux, error, chi2, pixels)
    assert list(found) == [0]
    assert "15% of its light" in found[0]
    assert poor_fits(flux[:2], error[:2], chi2[:2], pixels) == {}  # two frames
    assert poor_fits(flux[:, :3], error[:, :3], chi2[:, :3], pixels) == {}  # three stars


def test_a_star_that_is_kept_out_has_a_level_all_the_same():
    table = fluxes(8, 15, 6)
    whole = Ensemble().solve(table)
    without = np.where(np.arange(6) == 2, np.nan, table.flux)
    solution = Ensemble().solve(attrs.evolve(table, flux=without))
    told = with_left_out(solution, table, np.isfinite(table.flux), {2: "no single star"})
    assert told.rejected[2] == "no single star"
    assert not told.used[:, 2].any()
    # A median of 15 fluxes of 0.5 %, and the coefficients' own errors.
    assert told.level[2] == pytest.approx(whole.level[2], rel=0.006)
