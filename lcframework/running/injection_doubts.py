"""What drawn sources (``lcf inject``) say against the light curves of a project, as long as these are the same."""

from __future__ import annotations

from collections.abc import Iterator

from sqlmodel import Session, col, select

from lcframework.config.toolbox import Toolbox
from lcframework.provenance import digest
from lcframework.roi.injected import stored_doubts
from lcframework.stages.model_calibrated_cutouts import ModelCalibratedCutouts
from lcframework.storage.tables import Product, ProductState
from lcframework.types import Doubt
from lcframework.work import LightCurveKey


def present_light_curve(session: Session, roi: str) -> str:
    """Return what identifies the present light curve of a region; empty where there is none."""
    row = session.exec(
        select(Product.token, Product.state).where(
            col(Product.stage) == ModelCalibratedCutouts.name, col(Product.unit) == str(LightCurveKey(roi))
        )
    ).first()
    return digest(row[0], 16) if row is not None and row[1] == ProductState.MADE.value else ""


def doubts_of_injections(session: Session, toolbox: Toolbox) -> Iterator[Doubt]:
    """Yield what the last injections of each region speak against; those about an earlier light curve say nothing."""
    for roi in toolbox.config.roi:
        tested, doubts = stored_doubts(toolbox.workdir, roi)
        if doubts and tested == present_light_curve(session, roi):
            yield from doubts
