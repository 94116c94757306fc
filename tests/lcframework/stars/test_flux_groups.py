"""Which fluxes belong to a group, and that its outline names the same frames and stars without reading them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import Session

from lcframework.stars.flux_groups import groups, outlines
from lcframework.storage.tables import CombinedFootprint, Frame, RoiInFrame, Star, StarFlux, StarInFrame


def star(field: str, name: str, active: bool = True) -> Star:
    return Star(combined_footprint_hash=field, gaia_id=name, name=name, ra=0, dec=0, pmra=0, pmdec=0, ref_epoch=2016,
                magnitude=17, distance_to_roi_arcsec=1, active=active)  # fmt: skip


def frame(number: int, **more: Any) -> Frame:
    values: dict[str, Any] = {"instrument": "cam", "band": "r", "mjd": 100.0 - number, "roi_in_footprint": True, **more}
    return Frame(id=number, key=f"f{number}", original_image_path=f"f{number}", width=9, height=9, **values)


def flux(field: str, number: int, name: str) -> StarFlux:
    return StarFlux(
        combined_footprint_hash=field, frame_id=number, gaia_id=name, psf_ref="p", flux=number, flux_uncertainty=1,
        x=0, y=0, x_offset=0, y_offset=0, x_uncertainty=0, y_uncertainty=0, background=0, chi2=1, status="converged",
    )  # fmt: skip


def test_an_outline_is_that_of_its_group(engine: Engine) -> None:
    with Session(engine) as session:
        assert outlines(session) == groups(session) == []
        for field in "fg":
            row = CombinedFootprint(hash=field, strategy="roi_disk", rois=[field], ra=0, dec=0, radius=1)
            session.add_all([row, star(field, "a"), star(field, "b"), star(field, "old", active=False)])
        session.add(CombinedFootprint(hash="was", strategy="roi_disk", rois=["f"], ra=0, dec=0, radius=1, active=False))
        session.add(star("was", "a"))
        session.add_all([frame(1), frame(2), frame(3, band="i"), frame(4, eliminated=True), frame(5), frame(6)])
        session.add(frame(7, roi_in_footprint=False))
        session.add(RoiInFrame(frame_id=1, roi="f", roi_in_footprint=True, x=1, y=2))
        session.add_all(flux("f", number, "a") for number in (1, 2, 3, 4, 7))
        session.add_all([flux("f", 2, "b"), flux("f", 5, "old"), flux("g", 6, "b"), flux("was", 1, "a")])
        double = {"usable": False, "signal_to_noise": 50.0, "comment": "blended: x", "x": 0, "y": 0}
        session.add_all(StarInFrame(frame_id=i, combined_footprint_hash="f", gaia_id="a", **double) for i in (1, 2, 3))
        session.commit()
        found, whole = outlines(session), groups(session)
    assert [o.key for o in found] == [g.key for g in whole]
    assert [o.frame_ids for o in found] == [g.frame_ids for g in whole] == [[3], [2, 1], [6]]  # in the order of time
    assert [o.star_ids for o in found] == [g.star_ids for g in whole] == [["a"], ["a", "b"], ["b"]]
    named = [{g.star_ids[j]: why for j, why in g.no_stars.items()} for g in whole]
    assert [o.no_stars for o in found] == named
    assert [list(n) for n in named] == [[], ["a"], []]  # one frame alone tells nothing
