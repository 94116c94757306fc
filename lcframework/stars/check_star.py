"""A check star: a reference star's magnitudes beside a light curve, which show whether the calibration holds."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.stars.sequence import StarSequence
from lcframework.stars.star_curves import star_curves
from lcframework.storage.queries import fields_of_regions
from lcframework.storage.tables import Star, StarLevel
from lcframework.types import LcfError


@attrs.frozen
class CheckStar:
    """A reference star, and its magnitude in frames.

    Attributes
    ----------
    name : str
        Its letter and its identifier in the catalogue; its name in the AAVSO's sequence, where there is one.
    magnitudes : mapping
        By the frames' ids; frames in which it is not measured are left out.
    """

    name: str
    magnitudes: Mapping[int, float]


def check_stars(
    session: Session,
    roi: str,
    zeropoints: Mapping[int, float],
    wanted: str = "",
    sequence: StarSequence | None = None,
    radius: float = 3.0,
) -> dict[int, CheckStar]:
    """Return the check star of each frame.

    Its magnitudes are by the coefficients that the other stars give: it takes no part in its own calibration.

    Parameters
    ----------
    session : Session
        On the project's database.
    roi : str
        The region whose field the star is taken from.
    zeropoints : mapping
        The zero point of each frame, by its id; nan where there is none.
    wanted : str
        The star's letter; empty: in each instrument and band the steadiest of those in most frames.
    sequence : StarSequence, optional
        Its stars are taken first, and called by it.
    radius : float
        Arcsec within which a reference star is one of the sequence.

    Raises
    ------
    LcfError
        Where no star of the field is called so.
    """
    field = fields_of_regions(session).get(roi, "")
    stars = {s.gaia_id: s for s in session.exec(select(Star).where(Star.combined_footprint_hash == field))}
    charted = sequence.named(stars.values(), radius) if sequence is not None else {}
    if wanted and wanted not in {s.name for s in stars.values()}:
        known = ", ".join(sorted((s.name for s in stars.values()), key=lambda n: (len(n), n)))
        raise LcfError(f"check_star: no reference star of {roi} is called {wanted}; there are {known}")
    groups = session.execute(
        sa.select(col(StarLevel.instrument), col(StarLevel.band)).filter_by(combined_footprint_hash=field).distinct()
    )
    out: dict[int, CheckStar] = {}
    for instrument, band in groups.all():
        curves = star_curves(session, field, instrument, band)
        rows = [k for k, frame in enumerate(curves.frames) if frame in zeropoints]
        flux = curves.flux[rows]
        count = (flux > 0).sum(axis=0)
        possible = [
            k for k, star in enumerate(curves.stars)
            if star in stars and count[k] and (stars[star].name == wanted if wanted else not curves.comment[k])
        ]  # fmt: skip
        if possible:
            best = min(
                possible,
                key=lambda k: (curves.stars[k] not in charted, -count[k], curves.intrinsic[k], curves.stars[k]),
            )
            star, frames = curves.stars[best], [curves.frames[k] for k in rows]
            magnitudes = {
                frame: zeropoints[frame] - 2.5 * math.log10(f)
                for frame, f in zip(frames, flux[:, best].tolist(), strict=True)
                if f > 0
            }
            name = charted[star].name if star in charted else f"{stars[star].name} {star}"
            out |= dict.fromkeys(frames, CheckStar(name, magnitudes))
    return out
