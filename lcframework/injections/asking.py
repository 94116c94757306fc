"""What a project's database says of the frames in which sources are drawn, and of the stars that draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import sqlalchemy as sa
from sqlmodel import Session, col, select

from lcframework.frames.raw_folders import find_files
from lcframework.frames.samples import at_equal_steps
from lcframework.frames.stamping import psf_area
from lcframework.injections.light import InstrumentBand, RegionUnderTest
from lcframework.project import Project
from lcframework.stars.choice import MIN_SIGNAL_TO_NOISE
from lcframework.storage.queries import FrameRow, active_stars, fields_of_regions, frame_rows
from lcframework.storage.tables import (
    AbsoluteZeropoint,
    Frame,
    NormalizationCoefficient,
    StarFlux,
    StarInFrame,
    StarLevel,
)
from lcframework.types import LcfError
from lcframework.types.arrays import plain_floats

#: Fewer stars can't be divided in such that measure and such that draw.
FEWEST_STARS = 6
#: More than this draw no better.
MOST_DRAWING = 24
#: A star of a field takes part where it is usable in this share of the frames.
_USUALLY = 0.5
#: Significance of the limit.
_SIGMA = 5.0


@attrs.frozen(eq=False)
class Asked:
    """The frames of a target's light curve, and what is known of them and of its field.

    Attributes
    ----------
    target : RegionUnderTest
        The target.
    field : str
        Its field of reference stars.
    radius : float
        Arcsec: how far the stars that are measured reach.
    frames : tuple of FrameRow
        In the order of time.
    limits : mapping
        In each group, the flux of a source of 5 sigma in a usual frame, e-/s as in the light curve.
    zeropoints : mapping
        In each group, mag; nan where there is none.
    held_out : tuple of str
        The letters of the stars that draw.
    """

    target: RegionUnderTest
    field: str
    radius: float
    frames: tuple[FrameRow, ...]
    limits: Mapping[InstrumentBand, float]
    zeropoints: Mapping[InstrumentBand, float]
    held_out: tuple[str, ...]


def ask(project: Project, roi: str, most: int | None, rng: np.random.Generator) -> Asked:
    """Return what is known of a target, and which of its field's stars draw.

    Parameters
    ----------
    project : Project
        The project.
    roi : str
        The target.
    most : int, optional
        Take no more frames of each instrument and band than this, evenly in time.
    rng : numpy.random.Generator
        Decides which of two stars of about one brightness draws.

    Raises
    ------
    LcfError
        Where the target moves or has no light curve yet, raw files are away, or stars are too few.
    """
    region = project.config.roi[roi]
    if project.toolbox.ephemeris(roi) is not None:
        # Of what is drawn, the places and the sky behind it are the same in all frames.
        raise LcfError(
            f'[roi.{roi}] moves (ephemeris = "{region.ephemeris}"): sources are drawn at fixed places in the sky, so '
            "they would not be measured as the target is. Test another region of the same frames instead, with "
            '`--roi`: such as a star about as bright, as a [roi.NAME] with ephemeris = "fixed"'
        )
    curve = project.light_curve_table(roi)
    if not region.point_sources:
        raise LcfError(f"[roi.{roi}.point_sources] is empty: there is no target whose measuring could be tested")
    groups = [(str(i), str(b)) for i, b in zip(curve["instrument"], curve["band"], strict=True)]
    ids = _evenly(plain_floats(curve["frame_id"]).astype(int).tolist(), groups, most)
    flux: dict[InstrumentBand, dict[str, float]] = {}
    for group in sorted(set(groups)):
        own = np.array([g == group for g in groups])
        there = [name for name in region.point_sources if f"{name}_flux" in curve.colnames]
        values = {name: plain_floats(curve[f"{name}_flux"])[own] for name in there}
        flux[group] = {name: float(np.nanmedian(v)) if np.isfinite(v).any() else np.nan for name, v in values.items()}
    target = RegionUnderTest(roi, region.ra, region.dec, dict(region.point_sources), flux)
    with project.session() as session:
        frames = frame_rows(session, col(Frame.id).in_(ids), by_time=True)
        _need_raw_files(project, frames)
        field = fields_of_regions(session).get(roi)
        if field is None:
            raise LcfError(f"{roi} has no field of reference stars: run the project to its end")
        zeropoints = {
            (str(i), str(b)): float(z)
            for i, b, z in session.execute(
                sa.select(
                    col(AbsoluteZeropoint.instrument), col(AbsoluteZeropoint.band), col(AbsoluteZeropoint.zeropoint)
                ).where(col(AbsoluteZeropoint.combined_footprint_hash) == field)
            )
        }
        limits = _limits(session, field, frames)
        stars = _stars(session, field, [f.id for f in frames])
        if len(stars) < FEWEST_STARS:
            raise LcfError(
                f"{len(stars)} reference stars of {roi} are usable in half of its frames; {FEWEST_STARS} are needed, "
                "for half of them draw the sources and take no part in the measuring. Widen [stars] radius or magnitude"
            )
        measured = select(StarFlux.gaia_id).where(StarFlux.combined_footprint_hash == field).distinct()
        known = set(session.exec(measured))
        reach = [s.distance_to_roi_arcsec for s in active_stars(session).values()
                 if s.combined_footprint_hash == field and s.gaia_id in known]  # fmt: skip
    return Asked(target, field, max(reach), tuple(frames), limits, zeropoints, _half(stars, rng))


def _evenly(ids: Sequence[int], groups: Sequence[InstrumentBand], most: int | None) -> list[int]:
    """Return frames in the order of time: all, or so many of each group, evenly spread."""
    if most is None:
        return list(dict.fromkeys(ids))
    out: list[int] = []
    for group in sorted(set(groups)):
        own = [i for i, g in zip(ids, groups, strict=True) if g == group]
        out += at_equal_steps(own, most)
    return list(dict.fromkeys(out))


def _need_raw_files(project: Project, frames: Sequence[FrameRow]) -> None:
    """Refuse where raw files are away; those of a project that was moved have their names in other folders."""
    there = {path.name for path in find_files(project.config)}
    away = [f.original_image_path for f in frames if Path(f.original_image_path).name not in there]
    if away:
        raise LcfError(
            f"{len(away)} raw files of the light curve are not there, such as {away[0]}: sources are drawn in raw "
            "frames. Mount the drive, or put them back"
        )


def _limits(session: Session, field: str, frames: Sequence[FrameRow]) -> dict[InstrumentBand, float]:
    """Return the flux of 5 sigma in the median frame of each group, by the noise of the sky."""
    rows = session.exec(
        select(NormalizationCoefficient.frame_id, NormalizationCoefficient.coefficient).where(
            NormalizationCoefficient.combined_footprint_hash == field
        )
    )
    coefficients = dict(iter(rows))
    found: dict[InstrumentBand, list[float]] = {}
    for f in frames:
        noise = (f.background_rms_electron_per_second or np.nan) * np.sqrt(psf_area(f.seeing_pixels or 3.0))
        found.setdefault((f.instrument, f.band), []).append(_SIGMA * noise / coefficients.get(f.id, np.nan))
    return {group: float(np.nanmedian(values)) for group, values in found.items()}


def _stars(session: Session, field: str, frames: Sequence[int]) -> list[str]:
    """Return the letters of the stars that are usable and bright in half of the frames, the brightest first."""
    rows = session.execute(
        sa.select(col(StarInFrame.gaia_id), sa.func.count())
        .where(
            col(StarInFrame.combined_footprint_hash) == field, col(StarInFrame.usable),
            col(StarInFrame.frame_id).in_(frames), col(StarInFrame.signal_to_noise) >= MIN_SIGNAL_TO_NOISE,
        )
        .group_by(col(StarInFrame.gaia_id))
    )  # fmt: skip
    usual = {star for star, count in rows if count >= _USUALLY * len(frames)}
    levels = dict(
        iter(
            session.exec(
                select(StarLevel.gaia_id, StarLevel.level).where(
                    StarLevel.combined_footprint_hash == field, StarLevel.comment == ""
                )
            )
        )
    )
    names = {star: row.name for (own, star), row in active_stars(session).items() if own == field}
    found = [star for star in usual if star in levels and star in names]
    return [names[star] for star in sorted(found, key=lambda star: -levels[star])]


def _half(stars: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Return one of each two stars of about one brightness."""
    pairs = [stars[i : i + 2] for i in range(0, len(stars) - 1, 2)][:MOST_DRAWING]
    return tuple(pair[int(rng.integers(2))] for pair in pairs)
